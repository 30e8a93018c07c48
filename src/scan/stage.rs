//! What a scanner sees: regular files that it can read and not change, whatever its image is made of, and a working
//! directory with nothing in it but the data that it is given.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::files::{FileError, io_failed, make_way, symlink_file};
use crate::layout::{FoundImage, INDEX_FILE, MARKER_FILE, entry, index_of, marker_json};

use super::isolate::Isolation;

/// What scanners read in a path as the end of it, or as a part of something else.
const SPECIAL: [char; 4] = ['@', ':', '?', '%'];

/// No layout is as deep as this, so a link leads round in a circle.
const DEEPEST: usize = 8;

/// Whether every scanner takes paths below this directory.
pub(super) fn is_plain(directory: &Path) -> bool {
    !directory.to_string_lossy().contains(SPECIAL)
}

/// Whether it must be staged to be scanned. What is neither a file nor a layout may have links of its own.
pub(super) fn is_for(source: &Path) -> bool {
    source.is_file() || source.join(MARKER_FILE).exists() || source.join(INDEX_FILE).exists()
}

/// A file, or a layout with all its files, as a scanner sees it.
#[derive(Debug)]
pub(super) struct Stage {
    root: PathBuf,
    path: PathBuf,
    mounted: bool,
}

impl Stage {
    /// Stages `source`, or of that layout one image, in the directory `root`, which is made.
    pub(super) fn new(
        source: &Path,
        image: Option<&FoundImage>,
        root: &Path,
        isolation: Isolation,
    ) -> Result<Self, FileError> {
        let name = source.file_name().unwrap_or("image".as_ref());
        let name = name.to_string_lossy().replace(SPECIAL, "_");
        io_failed("make", root, fs::create_dir(root))?;
        let stage = Stage {
            root: root.to_owned(),
            path: root.join(name),
            mounted: isolation.may_mount() && mounts::bind(root, root).is_ok(),
        };
        match image {
            Some(image) => stage.add_image(source, image)?,
            None => stage.add(source, &stage.path, DEEPEST)?,
        }
        if stage.mounted {
            io_failed("protect", root, mounts::protect(root))?;
        }
        Ok(stage)
    }

    /// Where the scanner finds it.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn add(&self, source: &Path, target: &Path, depth: usize) -> Result<(), FileError> {
        let metadata = io_failed("read", source, fs::metadata(source))?;
        if metadata.is_file() {
            return io_failed("stage", source, self.add_file(source, target));
        }
        if !metadata.is_dir() {
            let error = io::Error::other("it is neither a regular file nor a directory");
            return io_failed("stage", source, Err(error));
        }
        let Some(depth) = depth.checked_sub(1) else {
            let error = io::Error::other("no image layout has directories as deep as this");
            return io_failed("stage", source, Err(error));
        };
        io_failed("make", target, fs::create_dir(target))?;
        for entry in io_failed("list", source, fs::read_dir(source))? {
            let entry = io_failed("list", source, entry)?;
            self.add(&entry.path(), &target.join(entry.file_name()), depth)?;
        }
        Ok(())
    }

    fn add_image(&self, layout: &Path, image: &FoundImage) -> Result<(), FileError> {
        io_failed("make", &self.path, fs::create_dir(&self.path))?;
        let blobs = [&image.descriptor, &image.manifest.config].into_iter();
        let blobs = blobs.chain(&image.manifest.layers);
        // A layer may be there twice.
        let files: BTreeSet<_> = blobs.map(|blob| blob.digest.blob_path()).collect();
        for file in files {
            let source = layout.join(&file);
            let target = make_way(&self.path, &file)?;
            self.add(&source, &target, 0)?;
        }
        let index = index_of([entry(&image.descriptor, [])]);
        for (name, bytes) in [(MARKER_FILE, marker_json()), (INDEX_FILE, index)] {
            let path = self.path.join(name);
            let written = fs::write(&path, bytes).and_then(|()| make_read_only(&path));
            io_failed("write", &path, written)?;
        }
        Ok(())
    }

    /// Without a copy where it can be mounted, or the file system can share its bytes.
    fn add_file(&self, source: &Path, target: &Path) -> io::Result<()> {
        if self.mounted {
            fs::File::create_new(target)?;
            let mounted = mounts::bind(source, target).and_then(|()| mounts::protect(target));
            if mounted.is_ok() {
                return mounted;
            }
            mounts::unmount(target);
            fs::remove_file(target)?;
        }
        reflink_copy::reflink_or_copy(source, target)?;
        make_read_only(target)
    }
}

fn make_read_only(file: &Path) -> io::Result<()> {
    let mut permissions = fs::metadata(file)?.permissions();
    permissions.set_readonly(true);
    fs::set_permissions(file, permissions)
}

impl Drop for Stage {
    fn drop(&mut self) {
        if self.mounted {
            mounts::unmount(&self.root);
        }
    }
}

/// Keeps the scanner from changing a directory that was made for it, where the system lets a process do so; ends with what
/// is returned.
pub(super) fn protect(directory: &Path, isolation: Isolation) -> Result<Protected, FileError> {
    let mounted = isolation.may_mount() && mounts::bind(directory, directory).is_ok();
    let protected = Protected(mounted.then(|| directory.to_owned()));
    if mounted {
        io_failed("protect", directory, mounts::protect(directory))?;
    }
    Ok(protected)
}

/// A directory that cannot be changed.
#[derive(Debug)]
pub(super) struct Protected(Option<PathBuf>);

impl Drop for Protected {
    fn drop(&mut self) {
        if let Some(directory) = &self.0 {
            mounts::unmount(directory);
        }
    }
}

/// Makes a working directory below `root`, in which each file or directory of `data` is found at its relative path, and
/// nothing else is.
///
/// A path may begin with `..`: Bazel so names what is in another repository.
pub(super) fn working_directory(root: &Path, data: &[PathBuf]) -> Result<PathBuf, FileError> {
    let main = Path::new("main");
    io_failed("make", root, fs::create_dir(root))?;
    io_failed("make", root, fs::create_dir(root.join(main)))?;
    let mut data: Vec<_> = data.iter().collect();
    // What is in a directory that is there is there.
    data.sort_unstable();
    data.dedup_by(|next, before| next.starts_with(before));
    for path in data {
        let below = path
            .strip_prefix("..")
            .map_or_else(|_| main.join(path), Path::to_owned);
        let mut parts = below.components();
        if !parts.all(|part| matches!(part, Component::Normal(_))) {
            let error = "data must be below the working directory, or in a directory beside it";
            return io_failed("provide", path, Err(io::Error::other(error)));
        }
        let place = root.join(below);
        let parent = place.parent().unwrap_or(root);
        io_failed("make", parent, fs::create_dir_all(parent))?;
        link(path, &place)?;
    }
    Ok(root.join(main))
}

/// Makes a link to what is given.
pub(super) fn link(given: &Path, link: &Path) -> Result<(), FileError> {
    let linked = std::path::absolute(given).and_then(|given| symlink_file(&given, link));
    io_failed("provide", given, linked)
}

#[cfg(target_os = "linux")]
mod mounts {
    use std::io;
    use std::path::Path;

    use rustix::fs::{StatVfsMountFlags, statvfs};
    use rustix::mount::{MountFlags, UnmountFlags, mount_bind, mount_remount, unmount as detach};

    /// Mounts one file on another, or one directory on another.
    pub(super) fn bind(source: &Path, target: &Path) -> io::Result<()> {
        Ok(mount_bind(source, target)?)
    }

    /// Makes what is mounted at `target` read-only.
    pub(super) fn protect(target: &Path) -> io::Result<()> {
        // A flag that the file system is mounted with may not be left out (mount_namespaces(7)).
        let has = statvfs(target)?.f_flag;
        let mut flags = MountFlags::BIND | MountFlags::RDONLY;
        for (flag, kept) in [
            (StatVfsMountFlags::NODEV, MountFlags::NODEV),
            (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
            (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        ] {
            flags.set(kept, has.contains(flag));
        }
        Ok(mount_remount(target, flags, "")?)
    }

    /// Unmounts what is mounted at `target` and below; it goes with this process in any case.
    pub(super) fn unmount(target: &Path) {
        let _ = detach(target, UnmountFlags::DETACH);
    }
}

#[cfg(not(target_os = "linux"))]
mod mounts {
    use std::io;
    use std::path::Path;

    pub(super) fn bind(_: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn protect(_: &Path) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn unmount(_: &Path) {}
}
