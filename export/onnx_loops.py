"""Takes out of the loops of an ONNX graph what does not change in them.

tf2onnx (1.17) hands all that a loop reads through every step, weights and images as
well, and turns kernels around within. Runtimes copy what is handed through, and
quantizers look for weights among the initializers.
"""

import onnx


def hoist_invariants(graph):
    """Lets the bodies of loops read what does not change from outside of them.

    Args:
        graph: An `onnx.GraphProto`. It is changed.
    """
    for loop in [node for node in graph.node if node.op_type == "Loop"]:
        body = loop.attribute[0].g
        copies = {n.output[0]: n.input[0] for n in body.node if n.op_type == "Identity"}
        names = {}
        # The first two inputs are the number of the step and the condition; the first
        # output is the condition as well.
        for index in reversed(range(2, len(loop.input))):
            inside, after = body.input[index].name, body.output[index - 1].name
            while after in copies:
                after = copies[after]
            if after == inside:
                names[inside] = loop.input[index]
                _rename(graph.node, {loop.output[index - 2]: loop.input[index]})
                del body.input[index], body.output[index - 1]
                del loop.input[index], loop.output[index - 2]
        _rename(body.node, names)
        _take_weights(graph, body)
        _drop_unused(body)
    _drop_unused(graph)


def _rename(nodes, names):
    for node in nodes:
        for index, name in enumerate(node.input):
            node.input[index] = names.get(name, name)


def _take_weights(graph, body):
    """Moves the weights of a body into it, turned as it would turn them each time."""
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for node in list(body.node):
        if node.op_type == "Transpose" and node.input[0] in weights:
            value = onnx.numpy_helper.to_array(weights[node.input[0]])
            turned = value.transpose(node.attribute[0].ints).copy()
            weights[node.output[0]] = onnx.numpy_helper.from_array(
                turned, node.output[0]
            )
            body.node.remove(node)
    read = {name for node in body.node for name in node.input}
    body.initializer.extend(weights[name] for name in weights if name in read)


def _drop_unused(graph):
    used = {output.name for output in graph.output}
    for node in graph.node:
        used.update(node.input)
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                used.update(_read_from_outside(attribute.g))
    for kind in (graph.node, graph.initializer):
        for item in list(kind):
            names = item.output if kind is graph.node else [item.name]
            if not used.intersection(names):
                kind.remove(item)


def _read_from_outside(body):
    own = {tensor.name for tensor in body.initializer}
    return {name for node in body.node for name in node.input} - own
