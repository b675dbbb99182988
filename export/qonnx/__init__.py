"""Networks that others trained, out of QONNX files. Needs the ``onnx`` package; nothing else of `export` imports this folder.

* `operators`: what QONNX adds to ONNX, for onnx's reference evaluator;
* `graph`: the file: its constants, and the nodes that an image passes through;
* `table`: what becomes of every integer that a sum, or a pixel, can be;
* `fold`: encoders and neurons that give the same levels;
* `reader`: from the graph to an `export.Network`;
* `proof`: that network against the graph, activation by activation;
* `command`: ``python -m export import``.
"""
