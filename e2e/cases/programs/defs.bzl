"""Trees and links of the shapes that rules for Node make."""

def _node_modules_impl(ctx):
    files = []
    for name in ctx.attr.packages:
        store = "node_modules/.store/{}@1.0.0/node_modules/".format(name)
        tree = ctx.actions.declare_directory(store + name)
        ctx.actions.run_shell(
            outputs = [tree],
            command = "cd $1 && mkdir bin lib && echo $2 >index.js && echo $2 main >lib/main.js && ln -s ../lib/main.js bin/$2",
            arguments = [tree.path, name],
        )
        files.append(tree)
        links = [("node_modules/" + name, ".store/{0}@1.0.0/node_modules/{0}".format(name))]
        for other in ctx.attr.packages:
            if other != name:
                links.append((store + other, "../../{0}@1.0.0/node_modules/{0}".format(other)))
        for path, target in links:
            link = ctx.actions.declare_symlink(path)
            ctx.actions.symlink(output = link, target_path = target)
            files.append(link)
    return [DefaultInfo(files = depset(files), runfiles = ctx.runfiles(files))]

node_modules = rule(
    implementation = _node_modules_impl,
    attrs = {"packages": attr.string_list()},
)
