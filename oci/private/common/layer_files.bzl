"""How targets of the build become files of a layer."""

def add_target(arguments, target, path):
    """Adds a target's files to a layer.

    Args:
      arguments: the Args of the tool's command `layer`.
      target: the target.
      path: where its one file stands in the layer; several, or one at a path that ends with a slash, stand below it.

    Returns:
      A list of depset, the files that are named.
    """
    info = target[DefaultInfo]

    # A file's own target, and that of a group of one file, has an executable, too, but no runfiles. Of these the manifest is
    # missing with --nobuild_runfile_manifests, and what repositories are called, which is beside it, without modules.
    run = info.files_to_run
    program = run.executable if run.runfiles_manifest or getattr(run, "repo_mapping_manifest", None) else None
    if program:
        return add_program(arguments, info, program, _place(path, program))

    # One file stands at the path itself; several stand below it, as they do in the package.
    files = info.files.to_list()
    package = target.label.package + "/" if target.label.package else ""
    for file in files:
        below = _place(path, file)
        if len(files) > 1:
            relative = file.short_path
            if relative.startswith("../"):
                relative = "/".join(relative.split("/")[2:])
            below = path.rstrip("/") + "/" + relative.removeprefix(package)
        arguments.add(_flag(file, "--file"))
        arguments.add(below)
        arguments.add_all([file], expand_directories = False)
    return [info.files]

def _place(path, file):
    """Where a file stands that is said to be at a path, or below it if that ends with a slash."""
    return path + file.basename if path.endswith("/") and not file.is_directory else path

def add_program(arguments, info, executable, path, root = None):
    """Adds a program and its runfiles to a layer.

    Args:
      arguments: the Args of the tool's command `layer`.
      info: the program's DefaultInfo.
      executable: its File.
      path: where it stands in the layer.
      root: where its runfiles stand, which then are there even if they are none but itself; by default at `PATH.runfiles`.

    Returns:
      A list of depset, the files that are named.
    """
    arguments.add("--executable")
    arguments.add(path)
    arguments.add(executable)
    inputs = [depset([executable])]
    runfiles = info.default_runfiles.files
    links = info.default_runfiles.symlinks.to_list()
    root_links = info.default_runfiles.root_symlinks.to_list()

    # Flattened, because a program that needs nothing but itself should come alone.
    if not root and not links and not root_links and runfiles.to_list() in ([], [executable]):
        return inputs
    root = root or path + ".runfiles"

    def flags(file):
        return [_flag(file, "--executable"), root + "/" + _below(file.short_path), file.path]

    arguments.add_all(runfiles, map_each = flags, allow_closure = True, expand_directories = False)
    inputs.append(runfiles)
    for prefix, entries in [("/_main/", links), ("/", root_links)]:
        for link in entries:
            arguments.add(_flag(link.target_file, "--executable"))
            arguments.add(root + prefix + link.path)
            arguments.add_all([link.target_file], expand_directories = False)
            inputs.append(depset([link.target_file]))
    for name in info.default_runfiles.empty_filenames.to_list():
        # Where runfiles have other repositories in two places, the names are those of the old one.
        if name.startswith("external/"):
            name = "../" + name.removeprefix("external/")
        arguments.add(root + "/" + _below(name), format = "--empty-file=%s")
    mapping = getattr(info.files_to_run, "repo_mapping_manifest", None)
    if mapping:
        arguments.add("--file")
        arguments.add(root + "/_repo_mapping")
        arguments.add(mapping)
        inputs.append(depset([mapping]))
    return inputs

def _below(path):
    """Where a file of runfiles stands, by its short path."""
    return path.removeprefix("../") if path.startswith("../") else "_main/" + path

def _flag(file, generated):
    """How the tool is told what a file is; `generated` is for one that is no source."""
    if file.is_directory:
        return "--directory"
    if getattr(file, "is_symlink", False):
        return "--link"
    return "--source" if file.is_source else generated
