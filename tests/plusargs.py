from sim import simulate


def add(monkeypatch, argument):
    """Give every simulator that runs one more argument, by which a circuit has one of the faults that are planted in it."""
    run_module = simulate.run_module
    monkeypatch.setattr(
        simulate,
        "run_module",
        lambda build, module, folder, plusargs, *rest: run_module(build, module, folder, [*plusargs, argument], *rest),
    )
