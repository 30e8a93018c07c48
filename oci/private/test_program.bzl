"""How a test rule's test is the `oci-pull-all` program with the rule's own arguments."""

load(":run_program.bzl", "run_program")
load(":toolchain.bzl", "TOOLCHAIN_TYPE")

# The program must run where the test runs.
TEST_EXEC_GROUPS = {"test": exec_group(toolchains = [TOOLCHAIN_TYPE])}

def test_program(ctx, arguments, runfiles):
    """Makes the test's program.

    Args:
      ctx: the context of a test rule with `exec_groups = TEST_EXEC_GROUPS`.
      arguments: an Args with the program's arguments, which come before those of the attribute `args`.
      runfiles: the runfiles that it needs.

    Returns:
      A list of providers.
    """
    tool = ctx.exec_groups["test"].toolchains[TOOLCHAIN_TYPE].tool.executable
    return run_program(ctx, tool, arguments, runfiles)
