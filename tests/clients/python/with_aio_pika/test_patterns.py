"""The patterns of messaging with aio-pika: work queues, publish and subscribe, requests, retries."""

import asyncio

import aio_pika
import pytest
from aio_pika import DeliveryMode, ExchangeType, Message
from aio_pika.exceptions import ChannelPreconditionFailed, DeliveryError
from aio_pika.patterns import RPC, Master

from support import amqp, fresh

URL = "amqp://guest:guest@{}/"


def connect():
    return aio_pika.connect(URL.format(amqp()))


async def test_a_work_queue_shares_its_messages():
    async with await connect() as connection:
        publishing = await connection.channel()
        name = fresh("work")
        await publishing.declare_queue(name, durable=True)
        taken = {0: [], 1: []}
        done = asyncio.Event()

        async def work(worker):
            channel = await connection.channel()
            await channel.set_qos(prefetch_count=1)
            queue = await channel.get_queue(name)

            async def handle(message):
                async with message.process():
                    taken[worker].append(message.body)
                    await asyncio.sleep(0.005)
                    if sum(map(len, taken.values())) == 40:
                        done.set()

            await queue.consume(handle)

        await asyncio.gather(work(0), work(1))
        for number in range(40):
            message = Message(str(number).encode(), delivery_mode=DeliveryMode.PERSISTENT)
            await publishing.default_exchange.publish(message, name)
        await done.wait()
        assert taken[0] and taken[1]
        assert sorted(map(int, taken[0] + taken[1])) == list(range(40))
        await publishing.queue_delete(name)


async def test_publish_and_subscribe():
    async with await connect() as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(fresh("news"), ExchangeType.TOPIC, auto_delete=True)
        queues = [await channel.declare_queue(exclusive=True) for _ in range(3)]
        for queue, key in zip(queues, ["sport.#", "#", "politics.*"]):
            await queue.bind(exchange, key)
        for key in ["sport.tennis", "politics.home"]:
            await exchange.publish(Message(key.encode()), key)
        found = []
        for queue, count in zip(queues, [1, 2, 1]):
            messages = [await queue.get(timeout=5) for _ in range(count)]
            found.append([message.body.decode() for message in messages])
            [await message.ack() for message in messages]
        assert found == [["sport.tennis"], ["sport.tennis", "politics.home"], ["politics.home"]]


async def test_requests_are_answered():
    async with await connect() as connection:
        rpc = await RPC.create(await connection.channel())
        name = fresh("multiply")

        async def multiply(*, x, y):
            return x * y

        await rpc.register(name, multiply, auto_delete=True)
        results = await asyncio.gather(*(rpc.call(name, kwargs={"x": 6, "y": y}) for y in range(20)))
        assert results == [6 * y for y in range(20)]
        await rpc.close()


async def test_a_master_hands_out_work():
    async with await connect() as connection:
        master = Master(await connection.channel())
        name, seen, done = fresh("tasks"), [], asyncio.Event()

        async def work(*, number):
            seen.append(number)
            if len(seen) == 10:
                done.set()

        await master.create_worker(name, work, auto_delete=True)
        for number in range(10):
            await master.create_task(name, kwargs={"number": number})
        await done.wait()
        assert sorted(seen) == list(range(10))


async def test_retries_with_a_delay():
    """A queue whose messages go back where they came from once their time is up."""
    async with await connect() as connection:
        channel = await connection.channel()
        work, wait = fresh("work"), fresh("wait")
        queue = await channel.declare_queue(
            work, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": wait}
        )
        await channel.declare_queue(
            wait, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": work, "x-message-ttl": 50}
        )
        await channel.default_exchange.publish(Message(b"try me"), work)
        for attempt in range(3):
            message = await queue.get(timeout=5, fail=True) if attempt == 0 else await wait_for(queue)
            deaths = {death["queue"]: death["count"] for death in message.headers.get("x-death", [])}
            assert deaths == ({} if attempt == 0 else {work: attempt, wait: attempt})
            await message.reject(requeue=False)


async def wait_for(queue):
    for _ in range(200):
        message = await queue.get(fail=False)
        if message is not None:
            return message
        await asyncio.sleep(0.02)
    raise AssertionError("no message")


async def test_confirms_and_returns():
    async with await connect() as connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        queue = await channel.declare_queue(exclusive=True)
        publish = channel.default_exchange.publish
        await asyncio.gather(*(publish(Message(b"x"), queue.name) for _ in range(500)))
        assert (await channel.declare_queue(queue.name, passive=True)).declaration_result.message_count == 500
        with pytest.raises(DeliveryError):
            await publish(Message(b"x"), fresh("nowhere"))


async def test_an_error_ends_its_channel_only():
    async with await connect() as connection:
        channel, other = await connection.channel(), await connection.channel()
        name = fresh("queue")
        await channel.declare_queue(name, durable=True)
        with pytest.raises(ChannelPreconditionFailed):
            await channel.declare_queue(name, durable=False)
        await other.queue_delete(name)


async def test_a_transaction():
    async with await connect() as connection:
        channel = await connection.channel(publisher_confirms=False)
        queue = await channel.declare_queue(exclusive=True)
        async with channel.transaction():
            await channel.default_exchange.publish(Message(b"committed"), queue.name)
        with pytest.raises(RuntimeError):
            async with channel.transaction():
                await channel.default_exchange.publish(Message(b"not"), queue.name)
                raise RuntimeError
        assert (await queue.get(timeout=5)).body == b"committed"
        assert await queue.get(fail=False) is None


async def test_a_robust_connection_comes_back():
    connection = await aio_pika.connect_robust(URL.format(amqp()), reconnect_interval=0.1)
    async with connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(fresh("robust"), durable=True)
        await channel.default_exchange.publish(Message(b"before", delivery_mode=2), queue.name)
        assert (await queue.get(timeout=5)).body == b"before"
        await queue.delete(if_empty=False)
