"""The eval callback: reads residuals, edits them, and ends passes early while llama.cpp computes.

llama.cpp asks for every node of its graph whether the callback wants it. If so, it calls again once the values are
computed. The residual after block `b` is the node named `l_out-<b>`. With a control vector it is the node after that
addition, so with either way of steering it is what the next block sees.

A graph has about thirty nodes per block, so answering by a Python function would cost a few per cent of a decode step
of a small model. llama.cpp reuses a graph while the number of tokens per pass and the page of the cache stay the same,
so its nodes can be identified by their addresses. Therefore the function that llama.cpp calls is the C look-up in a
dict of skipped nodes, and only nodes missing there reach Python code.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import llama_cpp
import numpy as np

from localprobe.engine import FloatArray
from localprobe.errors import UnsupportedModel
from localprobe_llama import library
from localprobe_llama.edits import Edit, apply

Reader: TypeAlias = Callable[[FloatArray], None]
"""Takes a residual (rows, width), which is overwritten once the reader returns."""


@dataclass(frozen=True, slots=True)
class Work:
    """The work of the callback in one pass, by layer."""

    edits: Mapping[int, Sequence[Edit]] = field(default_factory=dict)
    """Made in their order."""
    readers: Mapping[int, Reader] = field(default_factory=dict)
    """Called after edits."""
    stop: int | None = None
    """The pass ends once the residual of this layer has been read."""


_IDLE = Work()
_LOOKUP = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p)
"""The callback with only its first argument: which of the two calls it is follows from the previous call."""


class Tap:
    """The eval callback of one context. Give it `Work`, run the pass, `finish`."""

    def __init__(self, layers: int, width: int, same_graph: Callable[[], bool]) -> None:
        """`same_graph` returns, during a pass, whether its graph is that of the previous pass."""
        self._width = width
        self._layers = {f"l_out-{layer}".encode(): layer for layer in range(layers)}
        self._same_graph = same_graph
        self._on_host = library.on_host()
        self._skipped = _Skipped(self)
        self._known: dict[int, bool] = {}  # nodes of the last graph that are not residuals
        self._residuals: dict[int, int] = {}  # nodes of the last graph that are residuals -> layer
        self._values: dict[int, FloatArray] = {}  # node of a residual -> its values, or room for a copy of them
        self._wanted: set[int] = set()  # layers
        self._asked: int | None = None  # the node that was requested, and will be computed next
        self._begun = self._cutting = False
        self._work = _IDLE
        self._rows = self._top_rows = 0
        self._done: dict[int, int] = {}  # rows of each layer seen so far
        self._parts: dict[int, FloatArray] = {}  # residuals of layers that llama.cpp computes in parts
        self._in_parts = False
        self._scratch = np.empty((0, width), np.float32)
        self._error: BaseException | None = None
        self._lookup = _LOOKUP(self._skipped.__getitem__)
        self.callback: Any = ctypes.cast(self._lookup, llama_cpp.ggml_backend_sched_eval_callback)

    def begin(self, work: Work, rows: int, top_rows: int) -> None:
        """Do `work` in the next pass, whose residuals have `rows` rows, except `top_rows` at the top block."""
        self._work, self._rows, self._top_rows = work, rows, top_rows
        stop = len(self._layers) if work.stop is None else work.stop
        self._done = {layer: 0 for layer in (*work.edits, *work.readers) if layer <= stop}
        self._wanted = set(self._done) if work.stop is None else {*self._done, work.stop}
        self._skipped.clear()  # at its first node it is checked whether the graph is the last one
        self._begun = self._cutting = False
        self._asked = self._error = None
        self._parts = {}

    def meet(self, node: int) -> bool:
        """Handles llama.cpp's calls for nodes not known to be skipped: first the question, then, if wanted, the
        values."""
        if node == self._asked:
            self._asked = None
            return self._computed(node)
        try:
            wanted = self._cutting or self._wants(node)
        except BaseException as error:  # ctypes would print and lose it
            self._fail(error)
            wanted = True
        if wanted:
            self._asked = node
        return wanted

    def _wants(self, node: int) -> bool:
        if not self._begun:
            self._begun = True
            if self._in_parts or not self._same_graph():
                self._known, self._residuals, self._values = {}, {}, {}
            self._skipped.update(self._known)
            self._skipped.update((node, False) for node, layer in self._residuals.items() if layer not in self._wanted)
        if self.layer(node) in self._wanted:
            return True
        if not self._in_parts:
            self._skipped[node] = False
        return False

    def layer(self, node: int) -> int | None:
        """The layer whose residual a node is; None for other nodes. Either way the answer is cached."""
        if node in self._residuals and not self._in_parts:
            return self._residuals[node]
        layer = self._layers.get(library.tensor_name(node))
        if layer is None:
            self._known[node] = False
        else:
            self._residuals[node] = layer
        return layer

    def cut(self) -> None:
        """End the pass at the next node."""
        self._cutting = True
        self._skipped.clear()

    def _fail(self, error: BaseException) -> None:
        self._error = self._error or error
        self.cut()

    def finish(self) -> None:
        """Raise the error of the callback, if there was one."""
        self._work = _IDLE  # its readers keep references to what they fill
        if self._error is not None:
            raise self._error
        for layer, rows in self._done.items():
            if rows != self._total(layer):
                raise UnsupportedModel(
                    f"llama.cpp gave {rows} of {self._total(layer)} residuals at layer {layer} (tensor l_out-{layer}): "
                    "this architecture cannot be read through it, use the torch engine"
                )

    def _computed(self, node: int) -> bool:
        """Do the work on a residual; False ends the pass."""
        try:
            if not self._cutting and not self._at_layer(node):
                return True
        except BaseException as error:  # ctypes would print and lose it
            self._fail(error)
        self.cut()  # False ends only this part of the graph, and a GPU has several: refuse the first node of each
        return False

    def _at_layer(self, node: int) -> bool:
        """Edit a residual and read it. Returns whether the pass is done."""
        work, layer = self._work, self._residuals[node]
        edits, reader = work.edits.get(layer), work.readers.get(layer)
        if edits or reader:
            residual = self._read(node)  # (rows, width)
            first, total = self._done[layer], self._total(layer)
            last = first + len(residual)
            if last > total:
                raise UnsupportedModel(
                    f"llama.cpp gave more than {total} residuals at layer {layer}: use the torch engine"
                )
            if edits:
                apply(edits, residual, first)
                if not self._on_host:
                    library.tensor_set(node, residual.ctypes.data, 0, residual.nbytes)
            self._done[layer] = last
            if len(residual) != total:
                residual = self._put_together(layer, residual, first, total)
            if reader and last == total:
                reader(residual)
        return layer == work.stop

    def _total(self, layer: int) -> int:
        return self._top_rows if layer == len(self._layers) - 1 else self._rows

    def _read(self, node: int) -> FloatArray:
        """A residual (rows, width): llama.cpp's own memory, or a copy if that is on a GPU."""
        if node not in self._values or self._in_parts:
            self._values[node] = self._array(node)
        values = self._values[node]
        if not self._on_host:
            library.tensor_get(node, values.ctypes.data, 0, values.nbytes)
        return values

    def _array(self, node: int) -> FloatArray:
        """The values of a residual, which is float32 in every architecture that llama.cpp has, or room for a copy."""
        elements: int = library.tensor_elements(node)
        plain = library.tensor_bytes(node) == 4 * elements and library.tensor_contiguous(node)
        if not plain or elements % self._width:
            raise UnsupportedModel(
                f"llama.cpp's tensor {library.tensor_name(node).decode()} is not float32 rows of {self._width}: "
                "this architecture cannot be read through it, use the torch engine"
            )
        if self._on_host:
            values = (ctypes.c_float * elements).from_address(library.tensor_data(node))
            return np.ctypeslib.as_array(values).reshape(-1, self._width)
        count = elements // self._width
        if len(self._scratch) < count:
            self._scratch = np.empty((count, self._width), np.float32)
        return self._scratch[:count]

    def _put_together(self, layer: int, part: FloatArray, first: int, total: int) -> FloatArray:
        """All residuals of a layer so far, (total, width): llama.cpp may split a batch into several passes."""
        if layer not in self._parts:
            self._in_parts = True  # several graphs per pass: nodes must be identified by name
            self._skipped.clear()
            self._parts[layer] = np.empty((total, self._width), np.float32)
        self._parts[layer][first : first + len(part)] = part
        return self._parts[layer]


class _Skipped(dict[int, bool]):
    """Nodes that are not wanted, each with the answer to llama.cpp's question: False."""

    def __init__(self, tap: Tap) -> None:
        super().__init__()
        self._tap = tap

    def __missing__(self, node: int) -> bool:
        return self._tap.meet(node)
