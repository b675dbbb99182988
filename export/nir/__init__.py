"""Networks as graphs of NIR, the Neuromorphic Intermediate Representation (``docs/nir.md``). Needs the ``nir`` package; nothing else of
`export` imports this folder.

* `graph`: a file's nodes, one after another;
* `conventions`: what the graph means beyond its nodes, as metadata;
* `evaluator`: NIR's equations, step by step, and the golden model against them;
* `writer`: from a network to a graph;
* `reader`: from a graph to a network; `fold`: from its numbers to integers;
* `command`: ``python -m export nir`` and ``python -m export import FILE.nir``.
"""
