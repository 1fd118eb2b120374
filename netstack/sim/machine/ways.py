"""A cache set's tags as one vector: which way holds a tag, and hints for the host. Knows no lines and no order of the ways."""

from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from netstack.jit.records import Record, i4, record_accessor
from netstack.sim.machine.recency import MAX_WAYS


class Tag(Record):
    """A way of a cache set. In an L1 set tags are in order of use, the last used first. In an L2 set a tag stays in its way."""

    tag: i4  # twice the line, EMPTY for none; in L1, WRITABLE is added while the core is its only holder and owner


tag_at = record_accessor(Tag.dtype)
"""Return tag `index` of the set at an address."""


def _interpreted_matches(address: Any, tag: Any) -> int:
    return sum(1 << way for way in range(MAX_WAYS) if tag_at(address, way).tag == tag)


def _compiled_matches(typingctx: Any, address: Any, tag: Any) -> Any:
    def codegen(context, builder, signature, arguments):
        lane, lanes = ir.IntType(32), ir.VectorType(ir.IntType(32), MAX_WAYS)
        tags = builder.load(builder.inttoptr(arguments[0], lanes.as_pointer()), align=4)
        one = builder.insert_element(ir.Constant(lanes, ir.Undefined), builder.trunc(arguments[1], lane), ir.Constant(lane, 0))
        zeros = ir.Constant(ir.VectorType(lane, MAX_WAYS), [0] * MAX_WAYS)
        wanted = builder.shuffle_vector(one, one, zeros)
        equal = builder.icmp_signed("==", tags, wanted)
        return builder.zext(builder.bitcast(equal, ir.IntType(MAX_WAYS)), ir.IntType(64))

    return types.int64(types.int64, types.int64), codegen


_interpreted = numba.config.DISABLE_JIT  # pyright: ignore[reportAttributeAccessIssue]
matches: Any = _interpreted_matches if _interpreted else intrinsic(_compiled_matches)
"""Return which of the sixteen tags at an address equal `tag`, a bit each. All sixteen are read, whatever the set's ways."""


def _compiled_prefetch(typingctx: Any, address: Any) -> Any:
    def codegen(context, builder, signature, arguments):
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        function = builder.module.globals.get("llvm.prefetch.p0i8") or ir.Function(builder.module, kind, "llvm.prefetch.p0i8")
        write, keep, data = (ir.Constant(word, number) for number in (1, 3, 1))
        builder.call(function, [builder.inttoptr(arguments[0], byte), write, keep, data])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


prefetch: Any = (lambda address: None) if _interpreted else intrinsic(_compiled_prefetch)
"""Let the host fetch the memory at an address, which is written soon. Changes nothing."""
