"""Each aio-pika test is a coroutine, run to its end in an event loop of its own."""

import asyncio
import inspect

import pytest

#: No test takes longer; one that waits for ever fails here and says where it stood.
LIMIT_S = 60


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    asyncio.run(asyncio.wait_for(pyfuncitem.obj(**arguments), LIMIT_S))
    return True
