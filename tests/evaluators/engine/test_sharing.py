"""Equal calls are made once, and one waiter's end is not another's."""

import asyncio

import pytest

from evaluators.engine import MemoryStore, SharedModel, call_key
from evaluators.errors import CallRefused, ContextTooLong, RuntimeUnavailable
from evaluators.model import Answered, ChatRequest, Completion, Sampling, user
from evaluators.testing import ScriptedModel


def request(text: str = "hello", **sampling: object) -> ChatRequest:
    return ChatRequest((user(text),), Sampling(**sampling))


class TestCallKey:
    def test_is_equal_for_equal_calls(self) -> None:
        assert call_key("model", request()) == call_key("model", request())

    @pytest.mark.parametrize(
        ("fingerprint", "other"),
        [
            ("another model", request()),
            ("model", request("other text")),
            ("model", request(max_tokens=7)),
            ("model", request(temperature=0.7, seed=1)),
            ("model", request(stop=("\n",))),
        ],
        ids=["model", "messages", "limit", "sampling", "stop"],
    )
    def test_differs_with(self, fingerprint: str, other: ChatRequest) -> None:
        assert call_key(fingerprint, other) != call_key("model", request())

    def test_differs_with_seed(self) -> None:
        one, two = (request(temperature=1.0, seed=seed) for seed in (1, 2))
        assert call_key("model", one) != call_key("model", two)


class TestSharedModel:
    async def test_makes_equal_calls_in_flight_once(self) -> None:
        model = ScriptedModel(["a", "b"], delay=0.01)
        shared = SharedModel(model)
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(shared.complete(request())) for _ in range(5)]
        assert [call.result().text for call in calls] == ["a"] * 5
        assert sorted(call.result().cached for call in calls) == [False, True, True, True, True]
        assert len(model.requests) == 1

    async def test_answers_from_the_store_after_a_restart(self) -> None:
        store = MemoryStore()
        first = await SharedModel(ScriptedModel(["a"]), store=store).complete(request())
        model = ScriptedModel(["another text"])
        again = await SharedModel(model, store=store).complete(request())
        assert (again.text, again.cached, again.usage) == (first.text, True, first.usage)
        assert model.requests == []

    async def test_never_serves_another_models_text(self) -> None:
        store = MemoryStore()
        await SharedModel(ScriptedModel(["a"]), store=store).complete(request())
        other = ScriptedModel(["b"])
        other.fingerprint = "another model"
        assert (await SharedModel(other, store=store).complete(request())).text == "b"

    async def test_bounds_calls_in_flight(self) -> None:
        flying = most = 0

        def reply(_: ChatRequest) -> str:
            return "x"

        class Counting(ScriptedModel):
            async def complete(self, request):  # type: ignore[no-untyped-def]  # a double of a double
                nonlocal flying, most
                flying += 1
                most = max(most, flying)
                try:
                    return await super().complete(request)
                finally:
                    flying -= 1

        shared = SharedModel(Counting(reply, delay=0.005), in_flight=3)
        async with asyncio.TaskGroup() as group:
            for number in range(12):
                group.create_task(shared.complete(request(str(number))))
        assert most == 3

    async def test_cancelling_one_waiter_leaves_the_call_to_the_others(self) -> None:
        model = ScriptedModel(["a"], delay=0.02)
        shared = SharedModel(model)
        first = asyncio.create_task(shared.complete(request()))
        second = asyncio.create_task(shared.complete(request()))
        await asyncio.sleep(0.005)
        first.cancel()
        assert (await second).text == "a"
        assert first.cancelled()
        assert len(model.requests) == 1

    async def test_cancelling_the_last_waiter_ends_the_call(self) -> None:
        shared = SharedModel(ScriptedModel(["a"], delay=30))
        waiter = asyncio.create_task(shared.complete(request()))
        await asyncio.sleep(0.005)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        assert len(asyncio.all_tasks()) == 1

    async def test_a_call_that_is_being_given_up_is_nobodys_answer(self) -> None:
        class Reluctant(ScriptedModel):
            async def complete(self, asked: ChatRequest) -> Completion:
                try:
                    return await super().complete(asked)
                except asyncio.CancelledError:
                    await asyncio.sleep(0.02)  # a connection takes a while to close
                    raise

        model = Reluctant(["a"], delay=0.05)
        shared = SharedModel(model)
        first = asyncio.create_task(shared.complete(request()))
        await asyncio.sleep(0.005)
        first.cancel()
        await asyncio.sleep(0.005)
        second = asyncio.create_task(shared.complete(request()))
        third = asyncio.create_task(shared.complete(request()))
        assert ((await second).text, (await third).text) == ("a", "a")
        assert first.cancelled()
        assert len(model.requests) == 2

    async def test_refuses_every_waiter_when_the_call_fails_and_forgets_the_failure(self) -> None:
        model = ScriptedModel(["a"], delay=0.005, fail_after=0)
        shared = SharedModel(model)
        calls = [asyncio.create_task(shared.complete(request())) for _ in range(3)]
        done, _ = await asyncio.wait(calls)
        assert all(isinstance(call.exception(), RuntimeUnavailable) for call in done)
        model._fail_after = None
        assert (await shared.complete(request())).text == "a"


class TestLogprobs:
    """Samples that one method weighs and another does not are the same samples."""

    DRAW = {"temperature": 0.7, "seed": 3}

    async def test_answer_the_same_draw_without_them(self) -> None:
        model = ScriptedModel(["a", "b"])
        shared = SharedModel(model)
        weighed = await shared.complete(request(**self.DRAW, logprobs=0))
        drawn = await shared.complete(request(**self.DRAW))
        assert (drawn.text, drawn.usage, drawn.cached) == ("a", weighed.usage, True)
        assert (len(weighed.logprobs), drawn.logprobs) == (1, ())
        assert len(model.requests) == 1

    async def test_answer_it_while_in_flight(self) -> None:
        model = ScriptedModel(["a", "b"], delay=0.01)
        shared = SharedModel(model)
        async with asyncio.TaskGroup() as group:
            calls = [
                group.create_task(shared.complete(request(**self.DRAW, **more)))
                for more in ({"logprobs": 0}, {}, {})
            ]
        assert [call.result().text for call in calls] == ["a"] * 3
        assert [call.result().cached for call in calls] == [False, True, True]
        assert len(model.requests) == 1

    async def test_come_with_every_draw_so_that_whoever_weighs_it_later_need_not_ask(self) -> None:
        model = ScriptedModel(["a", "b"])
        shared = SharedModel(model)
        drawn = await shared.complete(request(**self.DRAW))
        weighed = await shared.complete(request(**self.DRAW, logprobs=0))
        assert (drawn.text, drawn.cached, drawn.logprobs) == ("a", False, ())
        assert (weighed.text, weighed.cached, len(weighed.logprobs)) == ("a", True, 1)
        assert len(model.requests) == 1

    async def test_cost_no_second_look_into_the_store(self) -> None:
        class Counting(MemoryStore):
            looked = 0

            async def get(self, key: str) -> Answered | None:
                self.looked += 1
                return await super().get(key)

        store = Counting()
        shared = SharedModel(ScriptedModel(["a"]), store=store)
        for logprobs in (None, 0, None):
            await shared.complete(request(**self.DRAW, logprobs=logprobs))
        assert store.looked == 3

    @pytest.mark.parametrize(
        ("capabilities", "weighed", "sampling"),
        [
            (["token_logprobs"], True, {"temperature": 0.0}),
            (["token_logprobs"], False, DRAW),
            (["chat"], True, DRAW),
        ],
        ids=["greedy", "unwanted", "not-told"],
    )
    async def test_are_not_asked_for(
        self, capabilities: list[str], weighed: bool, sampling: dict[str, float]
    ) -> None:
        model = ScriptedModel(["a"], capabilities=capabilities)
        await SharedModel(model, weighed=weighed).complete(request(**sampling))
        assert model.requests == [request(**sampling)]

    async def test_are_never_made_up_from_a_draw_without(self) -> None:
        model = ScriptedModel(["a"])
        shared = SharedModel(model, weighed=False)
        await shared.complete(request(**self.DRAW))
        weighed = await shared.complete(request(**self.DRAW, logprobs=0))
        assert (len(weighed.logprobs), weighed.cached) == (1, False)

    async def test_do_not_have_a_prompt_that_is_too_long_refused_twice(self) -> None:
        class Short(ScriptedModel):
            async def complete(self, asked: ChatRequest) -> Completion:
                await super().complete(asked)
                raise ContextTooLong(status=400, reason="too long")

        model = Short(["a"])
        with pytest.raises(ContextTooLong):
            await SharedModel(model).complete(request(**self.DRAW))
        assert len(model.requests) == 1

    @pytest.mark.parametrize("other", [{"temperature": 0.7, "seed": 4}, {"temperature": 0.0}])
    async def test_answer_no_other_draw(self, other: dict[str, float]) -> None:
        model = ScriptedModel(["a", "b"])
        shared = SharedModel(model)
        await shared.complete(request(**self.DRAW, logprobs=0))
        assert (await shared.complete(request(**other))).text == "b"

    async def test_refused_ones_leave_the_plain_call_to_be_made(self) -> None:
        class Plain(ScriptedModel):
            async def complete(self, asked: ChatRequest) -> Completion:
                if asked.sampling.logprobs is not None:
                    await asyncio.sleep(0.01)
                    raise CallRefused(reason="no log-probabilities here")
                return await super().complete(asked)

        shared = SharedModel(Plain(["a"]))
        results: list[object] = await asyncio.gather(
            *(shared.complete(request(**self.DRAW, **more)) for more in ({"logprobs": 0}, {})),
            return_exceptions=True,
        )
        assert isinstance(results[0], CallRefused)
        assert isinstance(results[1], Completion)
        assert results[1].text == "a"
