"""Runs a SavedModel through TensorFlow's C API: no Python of TensorFlow's or ours.

python c_api.py LIBRARY MODEL IMAGES.npy OUTPUT.npy INPUT_NAME OUTPUT_NAME
"""

import ctypes
import sys

import numpy as np

FLOAT = 1


class Output(ctypes.Structure):
    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


def main(library, model, images, output, input_name, output_name):
    tf = ctypes.CDLL(library)
    for name in (
        "TF_NewStatus TF_NewGraph TF_NewSessionOptions TF_AllocateTensor TF_TensorData "
        "TF_LoadSessionFromSavedModel TF_GraphOperationByName TF_Message"
    ).split():
        getattr(tf, name).restype = ctypes.c_void_p
    tf.TF_Dim.restype = ctypes.c_int64
    pointer = ctypes.c_void_p
    status, graph = pointer(tf.TF_NewStatus()), pointer(tf.TF_NewGraph())

    def check():
        if tf.TF_GetCode(status):
            raise SystemExit(ctypes.string_at(tf.TF_Message(status)).decode())

    tags = (ctypes.c_char_p * 1)(b"serve")
    session = tf.TF_LoadSessionFromSavedModel(
        pointer(tf.TF_NewSessionOptions()), None, model.encode(), tags, 1, graph, None,
        status,
    )  # fmt: skip
    check()

    def tensor_at(name):
        operation, index = name.split(":")
        found = tf.TF_GraphOperationByName(graph, operation.encode())
        assert found, f"no operation {operation}"
        return Output(found, int(index))

    values = np.ascontiguousarray(np.load(images), "float32")
    shape = (ctypes.c_int64 * values.ndim)(*values.shape)
    tensor = pointer(
        tf.TF_AllocateTensor(FLOAT, shape, values.ndim, ctypes.c_size_t(values.nbytes))
    )
    ctypes.memmove(tf.TF_TensorData(tensor), values.ctypes.data, values.nbytes)
    results = (ctypes.c_void_p * 1)()
    tf.TF_SessionRun(
        pointer(session), None,
        ctypes.byref(tensor_at(input_name)), ctypes.byref(tensor), 1,
        ctypes.byref(tensor_at(output_name)), results, 1,
        None, 0, None, status,
    )  # fmt: skip
    check()
    result = pointer(results[0])
    shape = [tf.TF_Dim(result, axis) for axis in range(tf.TF_NumDims(result))]
    data = (ctypes.c_float * int(np.prod(shape))).from_address(tf.TF_TensorData(result))
    np.save(output, np.array(data, "float32").reshape(shape))
    assert not {"tensorflow", "keras", "keras_ram"} & set(sys.modules)


if __name__ == "__main__":
    main(*sys.argv[1:])
