"""Settings: `base` for a single machine, `production` behind a proxy, `dev`, `test`."""
