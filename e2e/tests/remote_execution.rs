//! All actions on a worker that has nothing but their inputs.

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_e2e::registry::Registry;
use oci_pull_all_e2e::remote::RemoteExecution;

fn demo(registry: &Registry) -> Workspace {
    let image = format!("{}/library/debian", registry.host());
    Workspace::new(
        "demo",
        &[
            ("IMAGE", &image),
            ("DIGEST", &registry.digest("library/debian", "stable")),
        ],
    )
}

#[test]
fn a_worker_makes_what_this_machine_makes() {
    let registry = Registry::with_base_images();
    let engine = RemoteExecution::start();
    let mut workspace = demo(&registry);
    workspace.use_remote(&engine);
    let run = workspace.succeed(&[
        "build",
        "--verbose_failures",
        "//:image",
        "//:index",
        "//:image_layout",
    ]);
    println!("{}", run.stderr);
    for spawn in &run.spawns {
        println!("{}", serde_json::to_string_pretty(spawn).unwrap());
    }
    let out = std::process::Command::new("ls")
        .args(["-laR"])
        .arg(workspace.output("image_layout"))
        .output()
        .unwrap();
    println!("{}", String::from_utf8_lossy(&out.stdout));
    let run = workspace.bazel(&["test", "//:scan"]);
    println!("{}", run.stderr);
    for spawn in &run.spawns {
        println!("{}", serde_json::to_string_pretty(spawn).unwrap());
    }
    let out = std::process::Command::new("ls")
        .args(["-laR"])
        .arg(workspace.output("image_layout"))
        .output()
        .unwrap();
    println!("{}", String::from_utf8_lossy(&out.stdout));
    println!("{:?}", engine.stored());
}
