"""Read YAML that somebody else wrote: plain data only, and never more of it than stands there.

A few lines of aliases can stand for more values than any memory holds (`&a [*b, *b, …]`), or for
themselves, and merge keys (`<<`) are copied out while the file is read. So what a file comes to is
counted before any value is made.
"""

from typing import Any

_MOST_BYTES = 4 * 1024 * 1024
_MOST_NODES = 400_000
_MOST_DIGITS = 1000
_INTEGER = "tag:yaml.org,2002:int"


class UnreadableYaml(ValueError):
    """It is not YAML, or not YAML that can be read; `args[0]` says why and quotes nothing."""


def load_yaml(data: bytes) -> object:
    """Return the one document of a YAML file as plain data.

    Raises:
        UnreadableYaml: It is malformed, has a tag that makes more than plain data, refers to
            itself, or is too big, whether by itself or by its aliases.
    """
    import yaml

    if len(data) > _MOST_BYTES:
        raise UnreadableYaml("it is bigger than 4 MiB")
    try:
        loader = yaml.SafeLoader(data)
        node = loader.get_single_node()
        if node is None:
            return None
        _weigh(node, {})
        found: object = loader.construct_document(node)
    except UnreadableYaml:
        raise
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise UnreadableYaml(f"it is not YAML{where}") from None
    return found


def _weigh(node: Any, known: dict[int, int]) -> int:
    """Return how many values a node stands for, its aliases written out."""
    if id(node) in known:
        weight = known[id(node)]
        if not weight:
            raise UnreadableYaml(f"an alias refers to itself (line {node.start_mark.line + 1})")
        return weight
    known[id(node)] = 0  # as long as it is being counted
    if node.tag == _INTEGER and len(node.value) > _MOST_DIGITS:  # Python itself prints no such
        raise UnreadableYaml(f"a number is too long (line {node.start_mark.line + 1})")
    total = 1
    for part in node.value if isinstance(node.value, list) else ():
        for item in part if isinstance(part, tuple) else (part,):
            total += _weigh(item, known)
    if total > _MOST_NODES:
        raise UnreadableYaml("its aliases make more of it than can be read")
    known[id(node)] = total
    return total
