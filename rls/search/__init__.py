"""Search methods, one file each, and the code that they share.

A method is a module ``rls/search/NAME.py`` with a frozen dataclass ``Settings``, whose fields are
made by :func:`rls.runtime.command.option`, and a function ``super_resolve(problem, settings,
progress)`` that returns a :class:`rls.search.problem.Reconstruction`. A block in the
configuration's ``methods`` with ``search: NAME`` makes it a row of every table; nothing else needs
its name. A method without a generator says ``NEEDS_GENERATOR = False``. A method with a network of
its own names the command that trains it, such as ``TRAINED_BY = "train_pix2pix"``.

The objective of a search is a frozen dataclass of networks and settings. What differs from batch to
batch is an argument (:mod:`rls.search.steps`), so that a GPU can record a step and use it again.
"""
