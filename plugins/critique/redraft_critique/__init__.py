"""Methods that judge an answer, locate its mistakes, and are judged by what comes of it."""
