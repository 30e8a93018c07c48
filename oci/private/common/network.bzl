"""Whether what is run may use the network."""

NETWORK_ATTR = attr.bool(
    doc = """Whether the program may use the network. By default it cannot: Bazel's sandboxes block it
(`block-network`), and on Linux the tool starts the program in a network namespace of its own, or not at all where
neither holds.""",
)

def add_network(ctx, arguments):
    """Tells the tool.

    Args:
      ctx: the context of a rule with `network = NETWORK_ATTR` among its attributes.
      arguments: an Args with the tool's arguments.
    """
    if ctx.attr.network:
        arguments.add("--network")

def network_requirements(network):
    """Returns the execution requirements that tell Bazel.

    Args:
      network: whether what runs may use the network.

    Returns:
      A dict.
    """
    return {"requires-network": ""} if network else {"block-network": ""}
