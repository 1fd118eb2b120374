"""Tree pseudo-LRU as explicit nodes: the reference for the packed form."""

from dataclasses import dataclass, field


@dataclass
class Node:
    """An inner node: two halves, each a node or the number of a way, and the half that was used before the other."""

    halves: "list[Node | int]"
    older: int = 0


def node_over(ways: list[int]) -> Node | int:
    """Return a tree over ways: every second way of a node is in the same half."""
    return Node([node_over(ways[0::2]), node_over(ways[1::2])]) if len(ways) > 1 else ways[0]


def members(part: Node | int) -> set[int]:
    """Return the ways below a node, or the way itself."""
    return set().union(*map(members, part.halves)) if isinstance(part, Node) else {part}


@dataclass
class TreeSet:
    """A set of sixteen ways of which the first `ways` hold data."""

    ways: int
    root: Node | int = field(default_factory=lambda: node_over(list(range(16))))
    in_use: set[int] = field(default_factory=set)

    def use(self, way: int) -> None:
        """Use a way, which has a line from now on."""
        self.in_use.add(way)
        node = self.root
        while isinstance(node, Node):
            half = next(number for number, part in enumerate(node.halves) if way in members(part))
            node.older, node = 1 - half, node.halves[half]

    def victim(self) -> int:
        """Return the way to be filled next."""
        empty = [way for way in range(self.ways) if way not in self.in_use]
        if empty:
            return empty[0]
        node = self.root
        while isinstance(node, Node):
            chosen = node.halves[node.older]
            node = chosen if min(members(chosen)) < self.ways else node.halves[1 - node.older]
        return node
