//! Pages of the documentation, whose files and commands are tried.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// The language and the text of each fenced block.
pub fn blocks(page: &str) -> Vec<(&str, &str)> {
    page.split("\n```")
        .skip(1)
        .step_by(2)
        .filter_map(|block| block.split_once('\n'))
        .collect()
}

/// Writes the files that the page shows; each has its name in its first comment.
///
/// # Panics
/// If one cannot be written.
pub fn write_files(page: &str, directory: &Path) {
    for (language, text) in blocks(page) {
        let comment = text
            .lines()
            .find_map(|line| line.strip_prefix("# "))
            .and_then(|comment| comment.split(':').next());
        let Some(name) = comment.filter(|_| language != "console") else {
            continue;
        };
        let path = directory.join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("can be made");
        fs::write(&path, format!("{text}\n")).expect("can be written");
        let mode = if language == "sh" { 0o755 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("can be set");
    }
}
