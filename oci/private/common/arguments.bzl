"""The arguments of the tool."""

def tool_arguments(ctx, *command):
    """Begins arguments that may be so many that Bazel writes them to a file.

    The tool takes such a file as its first word alone. Without one, that is the command, so that no word of a user is ever taken for it.

    Args:
      ctx: the context of a rule or an aspect.
      *command: the words of the command.

    Returns:
      An Args, which must be the first of an action.
    """
    arguments = ctx.actions.args()
    arguments.use_param_file("@%s")
    arguments.set_param_file_format("shell")
    arguments.add_all(command)
    return arguments

def plain_http_argument(repository):
    """Has the tool reach the registry of a repository by plain HTTP.

    Args:
      repository: the repository, with its registry.

    Returns:
      A word of the tool's arguments.
    """
    return "--plain-http=" + repository.split("/")[0]
