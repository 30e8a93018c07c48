//! Layers of archives that other people's tar wrote.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use oci_pull_all_support::{Mounts, User, digest};

use crate::new_user;

/// Runs a shell script in the user's home.
fn prepare(user: &User, script: &str) {
    let status = Command::new("sh")
        .args(["-euc", script])
        .current_dir(user.home())
        .status();
    assert!(status.expect("sh can be run").success(), "{script}");
}

fn layer(user: &User, arguments: &[&str]) -> oci_pull_all_support::Ran {
    let outputs = [
        "layer",
        "--output",
        "layer.tar.gz",
        "--descriptor",
        "layer.json",
    ];
    user.run(&[&outputs, arguments].concat())
}

#[test]
fn a_sparse_file_keeps_its_content_and_what_follows() {
    let user = new_user();
    prepare(
        &user,
        "mkdir d; echo x >d/f; truncate -s 1M sparse; echo abc >>sparse; tar --format=gnu -cSf sparse.tar sparse d",
    );
    layer(&user, &["--tar", "sparse.tar", "--empty-directory", "/z"]).succeeded();
    prepare(
        &user,
        "mkdir out; tar -xzf layer.tar.gz -C out; cmp sparse out/sparse; cmp d/f out/d/f; test -d out/z",
    );
}

/// The bytes of a header and its data.
fn member(name: &str, kind: tar::EntryType, said: u64, data: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name).expect("short");
    header.set_entry_type(kind);
    header.set_size(said);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    let mut bytes = [header.as_bytes(), data].concat();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// A pax header with these records, and the entry that it is about.
fn with_pax(records: &[(&str, &[u8])], name: &str, said: u64, data: &[u8]) -> Vec<u8> {
    let mut pax = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let length = (rest..rest + 9).find(|length| rest + length.to_string().len() == *length);
        let length = length.expect("there is one");
        pax.extend(format!("{length} {key}=").into_bytes());
        pax.extend(*value);
        pax.push(b'\n');
    }
    let header = member("pax", tar::EntryType::XHeader, pax.len() as u64, &pax);
    [header, member(name, tar::EntryType::Regular, said, data)].concat()
}

/// What GNU tar lists of `layer.tar.gz`.
fn listed(user: &User) -> String {
    let tar = Command::new("tar")
        .args([
            "--numeric-owner",
            "--full-time",
            "--utc",
            "-tvzf",
            "layer.tar.gz",
        ])
        .current_dir(user.home())
        .output()
        .expect("tar can be run");
    assert!(tar.status.success(), "{tar:?}");
    String::from_utf8(tar.stdout).expect("UTF-8")
}

#[test]
fn pax_records_count_before_the_header() {
    let user = new_user();
    let capability = [1, 0, 0, 2, 0x0a, 0, 0, 0];
    let archive = [
        with_pax(&[("size", b"5")], "f", 0, b"hello"),
        with_pax(&[("SCHILY.xattr.user.c", &capability)], "g", 3, b"bye"),
        vec![0; 1024],
    ];
    fs::write(user.path("pax.tar"), archive.concat()).expect("can be written");
    layer(&user, &["--tar", "pax.tar", "--empty-directory", "/z"]).succeeded();
    prepare(
        &user,
        "mkdir out; tar -xzf layer.tar.gz -C out; test \"$(cat out/f out/g)\" = hellobye; gzip -d layer.tar.gz",
    );
    let bytes = fs::read(user.path("layer.tar")).expect("there");
    let record = [&b" SCHILY.xattr.user.c="[..], &capability, b"\n"].concat();
    assert!(bytes.windows(record.len()).any(|window| window == record));
}

#[test]
fn old_sparse_files_of_pax_are_read() {
    let user = new_user();
    prepare(
        &user,
        "truncate -s 1M sparse; echo abc >>sparse; truncate -s 2M sparse; for version in 0.0 0.1 1.0; do tar --format=pax --sparse-version=$version -cSf $version.tar sparse; done",
    );
    for version in ["0.0.tar", "0.1.tar", "1.0.tar"] {
        layer(&user, &["--tar", version, "--empty-directory", "/z"]).succeeded();
        prepare(
            &user,
            "mkdir out; tar -xzf layer.tar.gz -C out; cmp sparse out/sparse; rm -r out",
        );
    }
}

#[test]
fn what_oci_has_no_media_type_for_is_compressed_anew() {
    let user = new_user();
    prepare(
        &user,
        "mkdir d; echo abcd >d/f; tar -cf data.tar d; xz -k data.tar",
    );
    layer(&user, &["--tar", "data.tar.xz"]).succeeded();
    prepare(&user, "gzip -dc layer.tar.gz | cmp - data.tar");
    layer(&user, &["--tar", "data.tar.xz", "--empty-directory", "/z"]).succeeded();
    assert!(listed(&user).contains(" d/f\n"));
    fs::write(user.path("bz"), "BZh91AY").expect("can be written");
    layer(&user, &["--tar", "bz"]).failed(&["bz", "compressed by bzip2"]);
}

#[test]
fn what_is_no_archive_is_refused() {
    let user = new_user();
    prepare(
        &user,
        "echo text >text; : >empty; mkdir d; echo abcd >d/f; tar -cf whole.tar d; head -c 1200 whole.tar >cut.tar; gzip -c whole.tar | head -c 60 >cut.tgz",
    );
    for archive in ["text", "empty", "cut.tar", "cut.tgz"] {
        layer(&user, &["--tar", archive]).failed(&[
            archive,
            "is not a whole tar archive",
            "gzip, zstd or xz",
        ]);
    }
    for archive in ["text", "empty", "cut.tar", "cut.tgz"] {
        layer(&user, &["--tar", archive, "--empty-directory", "/z"])
            .failed(&[archive, "is not a whole tar archive"]);
    }
}

/// The checksum of a compressed archive is behind all that is in it.
#[test]
fn an_archive_is_read_to_its_end() {
    let user = new_user();
    prepare(
        &user,
        "mkdir d e; echo good >d/f; tar -cf d.tar d; tar -cf e.tar e; gzip -kn d.tar; xz -k d.tar; : | gzip >nothing.tgz",
    );
    // The last bytes of gzip are its checksum and length; those of xz an index and a footer.
    let spoil = |name: &str, from_end: usize| {
        let mut bytes = fs::read(user.path(name)).expect("it is there");
        let place = bytes.len() - from_end;
        bytes[place] ^= 1;
        fs::write(user.path(name), bytes).expect("can be written");
    };
    spoil("d.tar.gz", 8);
    spoil("d.tar.xz", 1);
    for archive in ["d.tar.gz", "d.tar.xz", "nothing.tgz"] {
        for more in [
            &[][..],
            &["--tar", "e.tar"],
            &["--empty-directory", "/z"],
            &["--compression", "zstd"],
        ] {
            layer(&user, &[&["--tar", archive], more].concat())
                .failed(&[archive, "is not a whole tar archive"]);
        }
    }
    user.run(&["mtree", "d.tar.gz", "--output", "list"])
        .failed(&["d.tar.gz", "is not a whole tar archive"]);
}

#[test]
fn a_hard_link_stands_behind_what_it_is_a_name_of() {
    let user = new_user();
    prepare(
        &user,
        "echo x >f; ln f g; tar -cf twice.tar f f; tar -cf file.tar f; cp file.tar link.tar; \
         tar -cf both.tar f g; tar --delete -f both.tar f; mkdir e; tar -cf e.tar e",
    );
    // GNU tar writes a file that is named twice as a link to itself.
    layer(&user, &["--tar", "twice.tar", "--tar", "e.tar"]).succeeded();
    prepare(
        &user,
        "mkdir out; tar -xzf layer.tar.gz -C out; cmp f out/f",
    );
    layer(&user, &["--tar", "file.tar", "--tar", "both.tar"]).succeeded();
    layer(&user, &["--tar", "both.tar", "--tar", "file.tar"]).failed(&[
        "both.tar",
        "its entry \"g\"",
        "only a later archive has",
    ]);
}

#[test]
fn an_archive_that_may_be_a_layer_stays_as_it_is() {
    let user = new_user();
    prepare(
        &user,
        "mkdir d; echo abcd >d/f; tar -cf a.tar d; gzip -1 -k a.tar; printf '(\\265/\\375' >magic; cp a.tar b.tar",
    );
    fs::write(
        user.path("a.tar.zst"),
        zstd::encode_all(&fs::read(user.path("a.tar")).expect("there")[..], 1).expect("memory"),
    )
    .expect("can be written");
    let diff_id = digest(&fs::read(user.path("a.tar")).expect("there"));
    for (archive, suffix) in [
        ("a.tar", "tar\""),
        ("a.tar.gz", "tar+gzip"),
        ("a.tar.zst", "tar+zstd"),
    ] {
        layer(&user, &["--tar", archive]).succeeded();
        prepare(&user, &format!("cmp layer.tar.gz {archive}"));
        let descriptor = fs::read_to_string(user.path("layer.json")).expect("there");
        let blob = digest(&fs::read(user.path(archive)).expect("there"));
        for part in [suffix, &blob, &diff_id] {
            assert!(descriptor.contains(part), "{part}: {descriptor}");
        }
        layer(&user, &["--tar", archive, "--compression", "none"]).succeeded();
        prepare(&user, "cmp layer.tar.gz a.tar");
    }
}

#[test]
fn what_is_the_same_may_come_twice() {
    let user = new_user();
    prepare(
        &user,
        "mkdir d; echo abcd >d/f; ln -s f d/l; tar -cf a.tar d; tar -cf b.tar d/l d/f; echo abcx >d/f; touch -r a.tar d/f; tar --mtime=@0 -cf c.tar d/f; echo abcd >d/f; tar --mtime=@0 -cf e.tar d/f",
    );
    layer(&user, &["--tar", "a.tar", "--tar", "b.tar"]).succeeded();
    assert_eq!(listed(&user).matches(" d/f\n").count(), 1);
    layer(&user, &["--tar", "e.tar", "--tar", "c.tar"])
        .failed(&["\"/d/f\" is given twice", "by e.tar, and by c.tar"]);
    layer(&user, &["--tar", "a.tar", "--tar", "e.tar"]).failed(&[
        "by a.tar, and by e.tar, with different modification times",
        "metadata (--metadata)",
    ]);
}

#[test]
fn archives_say_the_same_of_a_directory() {
    let user = new_user();
    prepare(
        &user,
        "mkdir -p d/etc; echo 1 >d/etc/one; echo 2 >d/etc/two
        pack() { tar --owner=0 --group=\"$1\" --mode=\"$2\" --mtime=\"$3\" --no-recursion -C d -cf \"$4\" etc \"$5\"; }
        pack 0 0755 @1 one.tar etc/one; pack 0 0755 @2 two.tar etc/two
        pack 0 0700 @1 mode.tar etc/two; pack 7 0755 @1 owner.tar etc/two",
    );
    let both = |other: &str, more: &[&str]| {
        layer(
            &user,
            &[&["--tar", "one.tar", "--tar", other], more].concat(),
        )
    };
    both("two.tar", &[]).succeeded();
    for (other, said) in [
        ("mode.tar", "by mode.tar, with the modes 0755 and 0700"),
        ("owner.tar", "by owner.tar, with the owners 0:0 and 0:7"),
    ] {
        let problem = [
            "\"/etc\" is given twice in the layer: by one.tar, and",
            said,
            "metadata (--metadata)",
        ];
        both(other, &[]).failed(&problem);
    }
    both("mode.tar", &["--metadata", "/etc", "mode=0711"]).succeeded();
    assert!(
        listed(&user).contains("drwx--x--x 0/0"),
        "{}",
        listed(&user)
    );
}

#[test]
fn no_path_is_in_a_layer_twice() {
    let user = new_user();
    // Directories after what is in them, and what was added to an archive again.
    prepare(
        &user,
        "mkdir -p d/sub e; echo 1 >d/sub/x; echo 1 >e/y; chmod 0750 d; chmod 0700 d/sub; \
         tar --owner=7 --group=8 --no-recursion -cf late.tar d/sub/x d/sub d; \
         tar --owner=7 --group=8 -cf again.tar e; echo 22 >e/y; tar --owner=7 --group=8 -rf again.tar e",
    );
    let files = ["--file", "/d/sub/own", "d/sub/x", "--file", "/e/own", "e/y"];
    let tars = ["--tar", "late.tar", "--tar", "again.tar"];
    layer(&user, &[&files[..], &tars].concat()).succeeded();
    let listed = listed(&user);
    let lines = listed.lines().map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let last = words.last().expect("a path").trim_end_matches('/');
        format!("{} {} {last}", words[0], words[1])
    });
    let mut lines: Vec<_> = lines.collect();
    lines.sort_by_key(|line| line.rsplit(' ').next().map(str::to_owned));
    assert_eq!(
        lines,
        [
            "drwxr-x--- 7/8 d",
            "drwx------ 7/8 d/sub",
            "-rw-r--r-- 0/0 d/sub/own",
            "-rw-r--r-- 7/8 d/sub/x",
            "drwxr-xr-x 7/8 e",
            "-rw-r--r-- 0/0 e/own",
            "-rw-r--r-- 7/8 e/y",
        ]
    );
    let content = "mkdir out; tar -xzf layer.tar.gz -C out; test \"$(cat out/e/y)\" = 22";
    prepare(&user, content);
}

#[test]
fn a_parent_that_nobody_named_is_roots() {
    let user = new_user();
    prepare(
        &user,
        "echo x >x; mkdir -p var/tmp usr; echo y >var/tmp/y; chmod 1775 var/tmp; tar --mtime=@0 --owner=7 --group=8 -cf own.tar var/tmp; echo z >usr/z; tar -cf z.tar usr/z",
    );
    let files = ["/tmp/x", "/root/x", "/etc/app/conf", "/srv/data/x"];
    let mut arguments = vec!["--owner", "1000:1001", "--unnamed-parents", "unnamed.json"];
    for file in files {
        arguments.extend(["--file", file, "x"]);
    }
    arguments.extend([
        "--file",
        "/var/tmp/x",
        "x",
        "--tar",
        "own.tar",
        "--tar",
        "z.tar",
    ]);
    arguments.extend([
        "--empty-directory",
        "/etc/app",
        "--parent",
        "/srv/data",
        "0750 33:34",
    ]);
    arguments.extend(["--path-mode", "/srv", "0711"]);
    layer(&user, &arguments).succeeded();
    let listed = listed(&user);
    let lines: Vec<String> = listed
        .lines()
        .map(|line| {
            let parts: Vec<&str> = line.split_whitespace().collect();
            format!("{} {} {}", parts[5], parts[0], parts[1])
        })
        .collect();
    for line in [
        "tmp/ drwxrwxrwt 0/0",
        "root/ drwx------ 0/0",
        "etc/ drwxr-xr-x 0/0",
        "etc/app/ drwxr-xr-x 1000/1001",
        "etc/app/conf -rw-r--r-- 1000/1001",
        "srv/ drwx--x--x 1000/1001",
        "srv/data/ drwxr-x--- 33/34",
        "usr/ drwxr-xr-x 0/0",
    ] {
        assert!(lines.iter().any(|found| found == line), "{line}: {listed}");
    }
    // What an archive names goes before what was made up, and runtimes take the last.
    let of_var: Vec<&String> = lines
        .iter()
        .filter(|line| line.starts_with("var/tmp/ "))
        .collect();
    assert_eq!(of_var.last().expect("there"), &"var/tmp/ drwxrwxr-t 7/8");
    let unnamed = fs::read_to_string(user.path("unnamed.json")).expect("there");
    let paths: Vec<&str> = unnamed
        .split("\"path\":\"")
        .skip(1)
        .map(|rest| rest.split('"').next().expect("it ends"))
        .collect();
    assert_eq!(
        paths,
        ["/etc", "/root", "/srv/data", "/tmp", "/usr", "/var"]
    );
}

/// Makes the layout `layout` of an image of two layers, of these archives and these arguments, with lists of unnamed
/// parents, and verifies it.
fn verify_on(user: &User, base: &str, arguments: &[&str]) -> oci_pull_all_support::Ran {
    prepare(user, "rm -rf layout");
    for (name, arguments) in [("base", &["--tar", base][..]), ("own", arguments)] {
        let outputs = [
            "layer",
            "--output",
            &format!("{name}.blob"),
            "--descriptor",
            &format!("{name}.json"),
            "--unnamed-parents",
            &format!("{name}.parents"),
        ];
        user.run(&[&outputs, arguments].concat()).succeeded();
    }
    let image = "image --platform linux/amd64 --layer base.json --layer own.json --manifest manifest --config config --descriptor image.json";
    user.run(&image.split(' ').collect::<Vec<_>>()).succeeded();
    let merge = "layout merge --root image.json --local-file manifest --local-file config --local base.json base.blob --local own.json own.blob --output layout";
    user.run(&merge.split(' ').collect::<Vec<_>>()).succeeded();
    let verify = "verify layout --unnamed-parents base.json base.parents --unnamed-parents own.json own.parents";
    user.run(&verify.split(' ').collect::<Vec<_>>())
}

#[test]
fn a_parent_that_nobody_named_must_not_change_the_base() {
    let user = new_user();
    prepare(
        &user,
        "mkdir -p usr/bin opt srv tmp; chmod 1777 tmp; chmod 700 srv; ln -s usr/bin bin; echo x >x; tar --owner=0 --group=0 -cf base.tar usr bin opt srv tmp x",
    );
    verify_on(
        &user,
        "base.tar",
        &["--file", "/tmp/x", "x", "--file", "/opt/a/x", "x"],
    )
    .succeeded();
    verify_on(&user, "base.tar", &["--file", "/bin/x", "x"]).failed(&[
        "the directory /bin, which nobody named, in place of the link to usr/bin",
        "links = {\"/bin\": \"usr/bin\"} or usr_merge = True",
    ]);
    verify_on(
        &user,
        "base.tar",
        &["--base-link", "/bin", "usr/bin", "--file", "/bin/x", "x"],
    )
    .succeeded();
    verify_on(&user, "base.tar", &["--file", "/srv/x", "x"]).failed(&[
        "the directory /srv, which nobody named, the mode 0755",
        "parents = {\"/srv\": \"0700 0:0\"}",
    ]);
    verify_on(
        &user,
        "base.tar",
        &["--parent", "/srv", "0700 0:0", "--file", "/srv/x", "x"],
    )
    .succeeded();
    verify_on(
        &user,
        "base.tar",
        &["--empty-directory", "/srv", "--file", "/srv/x", "x"],
    )
    .succeeded();
    verify_on(&user, "base.tar", &["--file", "/x/y", "x"])
        .failed(&["the directory /x", "no directory in the layers below"]);
}

/// Its name may be of any bytes.
#[test]
fn a_parent_whose_name_is_no_text_must_not_change_the_base_either() {
    let user = new_user();
    prepare(
        &user,
        r"for d in s l; do export $d=$(printf $d'\351'); done; t=$(printf 's\350'); \
          mkdir -p $s $t own/$s own/$t own/$l; chmod 700 $s $t; ln -s $s $l; \
          echo x | tee x own/$s/x own/$t/x own/$l/x; tar --owner=0 --group=0 -cf base.tar $s $t $l; \
          tar --owner=0 --group=0 -C own -cf own.tar $s/x $t/x $l/x",
    );
    // What the root gets is not for it either.
    for more in [&[][..], &["--parent", "/", "0700", "--file", "/x", "x"]] {
        let own = [&["--tar", "own.tar"][..], more].concat();
        verify_on(&user, "base.tar", &own).failed(&[
            "the directory /s\\xe9, which nobody named, the mode 0755",
            "the directory /l\\xe9, which nobody named, in place of the link to s\\xe9",
            "not all of it is UTF-8, so no attribute can say it",
            "change the base: 3",
        ]);
    }
}

/// What is to be set is pasted into a BUILD file.
#[test]
fn advice_is_starlark() {
    let user = new_user();
    prepare(
        &user,
        r#"d=$(printf 'a\n\033\047\042'); l=$(printf 'l\351'); mkdir -p "$d" "own/$d" own/c own/e; chmod 700 "$d"; \
           ln -s "$d" c; ln -s "$l" e; echo x | tee x "own/$d/x" own/c/x own/e/x; \
           tar --owner=0 --group=0 -cf base.tar "$d" c e; tar --owner=0 --group=0 -C own -cf own.tar "$d/x" c/x e/x"#,
    );
    verify_on(&user, "base.tar", &["--tar", "own.tar"]).failed(&[
        r#"parents = {"/a\n\U0000001b'\"": "0700 0:0"}"#,
        r#"links = {"/c": "a\n\U0000001b'\""}"#,
        r"in place of the link to l\xe9 that the layers below have: not all of it is UTF-8",
    ]);
}

/// An archive that is all of a layer keeps its bytes, and what it makes of the base is told as of others.
#[test]
fn an_archive_alone_must_not_change_the_base_either() {
    let user = new_user();
    prepare(
        &user,
        "mkdir -p usr/bin tmp srv; chmod 1777 tmp; ln -s usr/bin bin; tar --owner=0 --group=0 -cf base.tar usr bin tmp srv; \
         mkdir -p own/bin own/tmp own/srv/a; echo x | tee own/bin/x own/tmp/y own/srv/a/z; \
         tar --owner=0 --group=0 --mtime=@1 --no-recursion -C own -cf own.tar bin/x tmp/y srv srv/a srv/a/z; gzip -kn own.tar",
    );
    let told = [
        "the directory /bin, which nobody named, in place of the link to usr/bin",
        "the directory /tmp, which nobody named, the mode 0755",
        "change the base: 2",
    ];
    for archive in ["own.tar", "own.tar.gz"] {
        verify_on(&user, "base.tar", &["--tar", archive]).failed(&told);
        prepare(&user, &format!("cmp own.blob {archive}"));
    }
    let zstd = ["--tar", "own.tar", "--compression", "zstd"];
    verify_on(&user, "base.tar", &zstd).failed(&told);
    let links = ["--base-link", "/bin", "usr/bin"];
    verify_on(
        &user,
        "base.tar",
        &[&["--tar", "own.tar"], &links[..]].concat(),
    )
    .succeeded();
    let parents = ["--parent", "/bin", "0711 3:4", "--tar", "own.tar"];
    let ran = layer(&user, &[&links[..], &parents].concat());
    ran.succeeded();
    assert!(
        listed(&user).contains("drwx--x--x 3/4"),
        "{}",
        listed(&user)
    );
    layer(&user, &["--tar", "own.tar", "--parent", "/tmp", "1777"]).succeeded();
    assert!(listed(&user).contains("drwxrwxrwt 0/0"));
    layer(&user, &["--base-link", "/", "usr"]).failed(&["\"/\" is not a path"]);
}

#[test]
fn a_name_that_is_no_text_goes_where_links_of_the_base_lead() {
    let user = new_user();
    prepare(
        &user,
        "mkdir bin; echo y >\"bin/$(printf 'a\\351')\"; tar -cf bin.tar bin",
    );
    layer(
        &user,
        &["--tar", "bin.tar", "--base-link", "/bin", "usr/bin"],
    )
    .succeeded();
    let listed = listed(&user);
    assert!(listed.contains(" usr/bin/a"), "{listed}");
    assert!(!listed.contains(" bin/"), "{listed}");
}

#[test]
fn what_is_below_a_link_of_the_base_goes_where_it_leads() {
    let user = new_user();
    prepare(
        &user,
        "echo x >x; mkdir -p bin lib/deep; echo y >bin/y; ln bin/y bin/h; tar --sort=name -cf bin.tar bin lib",
    );
    layer(
        &user,
        &[
            "--base-link",
            "/bin",
            "usr/bin",
            "--base-link",
            "/lib",
            "/usr/lib",
            "--base-link",
            "/usr/lib/deep",
            "../../opt/./deep",
            "--executable",
            "/bin/x",
            "x",
            "--file",
            "/lib/deep/x",
            "x",
            "--symlink",
            "/lib/l",
            "../x",
            "--path-mode",
            "/bin/x",
            "0700",
            "--tar",
            "bin.tar",
        ],
    )
    .succeeded();
    let listed = listed(&user);
    let paths: Vec<&str> = listed
        .lines()
        .map(|line| line.splitn(6, ' ').last().expect("a path"))
        .collect();
    for path in [
        "usr/bin/x",
        "opt/deep/x",
        "usr/lib/l -> ../x",
        "usr/bin/h",
        "usr/bin/y link to usr/bin/h",
    ] {
        assert!(
            paths.iter().any(|found| found.ends_with(path)),
            "{path}: {listed}"
        );
    }
    assert!(
        !paths
            .iter()
            .any(|path| path.trim().starts_with("bin/") || path.trim().starts_with("lib/")),
        "{listed}"
    );
    layer(
        &user,
        &[
            "--base-link",
            "/a",
            "b",
            "--base-link",
            "/b",
            "a",
            "--file",
            "/a/x",
            "x",
        ],
    )
    .failed(&["/a/x", "circle"]);
}

#[test]
fn patterns_go_where_the_links_of_the_base_lead() {
    let user = new_user();
    prepare(&user, "echo x >x");
    let content = [
        "--base-link",
        "/bin",
        "usr/[bin]",
        "--executable",
        "/bin/tool",
        "x",
        "--executable",
        "/usr/[bin]/other",
        "x",
        "--file",
        "/opt/x",
        "x",
    ];
    let paths = |picks: &[&str]| {
        layer(&user, &[&content[..], picks].concat()).succeeded();
        let listed = listed(&user);
        let lines = listed.lines().filter(|line| !line.starts_with('d'));
        let words = lines.map(|line| (line[..10].to_owned(), line.rsplit('/').next()));
        let words: Vec<_> = words
            .map(|(mode, name)| format!("{mode} {}", name.unwrap_or_default()))
            .collect();
        words
    };
    let both = ["-rwxr-xr-x other", "-rwxr-xr-x tool"];
    assert_eq!(paths(&["--take", "/bin/*"]), both);
    assert_eq!(paths(&["--take", "/bin/tool"]), both[1..]);
    assert_eq!(paths(&["--leave", "/bin/**"]), ["-rw-r--r-- x"]);
    assert_eq!(
        paths(&["--metadata", "/bin/*", "mode=0700"]),
        ["-rw-r--r-- x", "-rwx------ other", "-rwx------ tool"]
    );
}

/// A file of arguments has more room than a command line.
#[test]
fn a_pattern_is_no_longer_than_a_path() {
    let user = new_user();
    prepare(&user, "mkdir d; echo x >d/x");
    let pick = |pattern: &str, more: &[&str]| {
        let command =
            "layer --output layer --descriptor json --compression none --directory /far d";
        fs::write(user.path("words"), format!("{command} {pattern}")).expect("can be written");
        user.run(&[&["@words"], more].concat())
    };
    let deep = |depth: usize| format!("/far/{}x{}", "{".repeat(depth), "}".repeat(depth));
    let long = [
        format!("/{}", "{a,b}".repeat(200_000)),
        format!("/{}", "*/".repeat(200_000)),
        deep(200_000),
    ];
    for pattern in &long {
        for option in ["--take=", "--leave=", "--metadata "] {
            let words = if option.ends_with(' ') {
                " mode=0700"
            } else {
                ""
            };
            pick(&format!("{option}'{pattern}'{words}"), &[])
                .failed(&["a pattern of paths may have 4095 bytes, and this one has "]);
        }
    }
    pick(&format!("--take='{}'", deep(2000)), &[]).failed(&["is not a pattern of paths"]);
    pick(&format!("--take='{}'", deep(100)), &[]).succeeded();
    // It grows on its way through a link of the base.
    let target = format!("/{}", "t/".repeat(100));
    let longest = format!("/far/*{}", "x".repeat(4089));
    pick(&format!("--take='{longest}'"), &[]).succeeded();
    pick(
        &format!("--take='{longest}'"),
        &["--base-link", "/far", &target],
    )
    .failed(&["a pattern of paths may have 4095 bytes"]);
}

#[test]
fn a_name_that_removes_something_is_not_taken_from_a_directory() {
    let user = new_user();
    prepare(&user, "mkdir -p d/sub; : >d/sub/.wh.gone; : >empty");
    layer(&user, &["--directory", "/d", "d"]).failed(&["d/sub/.wh.gone", "layers below"]);
    layer(&user, &["--file", "/d/.wh.gone", "empty"]).succeeded();
}

#[test]
fn a_name_that_is_no_text_is_told_for_what_it_is() {
    let user = new_user();
    prepare(
        &user,
        "mkdir d; : >\"d/$(printf 'a\\351')\"; ln -s \"$(printf 'b\\351')\" l",
    );
    layer(&user, &["--directory", "/d", "d"]).failed(&["not UTF-8"]);
    layer(&user, &["--link", "/l", "l"]).failed(&["l has a name", "not UTF-8"]);
}

/// As runtimes unpack it: what stands last at a path has taken the place of a directory, and of what was in it.
#[test]
fn what_an_archive_replaces_is_not_in_the_layer() {
    let user = new_user();
    prepare(
        &user,
        "mkdir lib p e; echo x >lib/x; echo q >p/q; tar -cf after.tar lib p; mv lib other; rm -r p; ln -s other lib; echo file >p; \
         tar --mtime=@0 -rf after.tar lib p; tar -rf after.tar other; tar -cf e.tar e; \
         tar --transform 's,^p,f,' -cf below.tar p; tar --transform 's,^other,f,' -rf below.tar other/x",
    );
    layer(&user, &["--tar", "after.tar", "--tar", "e.tar"]).succeeded();
    let listed = listed(&user);
    assert!(listed.contains(" lib -> other\n"), "{listed}");
    assert!(
        !listed.contains("lib/") && !listed.contains("p/q"),
        "{listed}"
    );
    prepare(
        &user,
        "mkdir out; tar -xzf layer.tar.gz -C out; test \"$(cat out/p out/lib/x)\" = \"$(cat p other/x)\"",
    );
    layer(&user, &["--tar", "below.tar", "--tar", "e.tar"])
        .failed(&["\"/f/x\" cannot be placed below \"/f\""]);
}

#[test]
fn an_output_may_be_an_input_and_a_failure_leaves_it() {
    let user = new_user();
    prepare(
        &user,
        "mkdir d; echo x >d/f; tar -cf d.tar d; cp d.tar layer.tar.gz; echo text >bad",
    );
    layer(&user, &["--tar", "layer.tar.gz", "--tar", "bad"]).failed(&["bad"]);
    prepare(&user, "cmp d.tar layer.tar.gz");
    layer(&user, &["--tar", "layer.tar.gz"]).succeeded();
    prepare(&user, "cmp d.tar layer.tar.gz; rm layer.tar.gz");
    layer(&user, &["--tar", "bad"]).failed(&["bad"]);
    prepare(
        &user,
        "test ! -e layer.tar.gz; test -z \"$(ls -A | grep oci-pull)\"",
    );
}

#[test]
fn attributes_that_are_empty_or_of_one_archive_alone_are_kept() {
    let user = new_user();
    let with = |name: &str, value: &[u8]| {
        let key = format!("SCHILY.xattr.{name}");
        let mut entry = with_pax(&[(&key, value)], "d/", 0, b"");
        let at = entry.len() - 512;
        let mut header = tar::Header::new_old();
        header.as_mut_bytes().copy_from_slice(&entry[at..]);
        header.set_entry_type(tar::EntryType::Directory);
        header.set_cksum();
        entry[at..].copy_from_slice(header.as_bytes());
        [entry, vec![0; 1024]].concat()
    };
    for (file, name, value) in [
        ("one.tar", "user.empty", &b""[..]),
        ("two.tar", "user.two", b"2"),
        ("other.tar", "user.two", b"3"),
    ] {
        fs::write(user.path(file), with(name, value)).expect("can be written");
    }
    layer(&user, &["--tar", "one.tar", "--tar", "two.tar"]).succeeded();
    user.run(&["mtree", "layer.tar.gz", "--output", "list"])
        .succeeded();
    let list = fs::read_to_string(user.path("list")).expect("there");
    assert!(
        list.contains(" xattr.user.empty= xattr.user.two=Mg==\n"),
        "{list}"
    );
    layer(&user, &["--tar", "two.tar", "--tar", "other.tar"])
        .failed(&["different extended attributes user.two"]);
}

/// containerd gives each name its owner, and with that the file loses its capabilities.
#[test]
fn each_name_of_a_file_has_its_attributes() {
    let user = new_user();
    let capability: &[(&str, &[u8])] = &[("SCHILY.xattr.security.capability", b"\x01\0\0\x02")];
    let mut link = tar::Header::new_ustar();
    link.set_path("ping2").expect("short");
    link.set_link_name("ping").expect("short");
    link.set_entry_type(tar::EntryType::Link);
    link.set_size(0);
    link.set_mode(0o644);
    link.set_cksum();
    let file = with_pax(capability, "ping", 3, b"one");
    let archive = [&file, link.as_bytes().as_slice(), &[0; 1024]].concat();
    fs::write(user.path("ping.tar"), archive).expect("can be written");
    layer(&user, &["--tar", "ping.tar", "--empty-directory", "/z"]).succeeded();
    prepare(&user, "gunzip -c layer.tar.gz >layer.tar");
    let bytes = fs::read(user.path("layer.tar")).expect("it is there");
    let has = |needle: &[u8]| {
        bytes
            .windows(needle.len())
            .filter(|part| *part == needle)
            .count()
    };
    assert_eq!(has(b"SCHILY.xattr.security.capability="), 2);
}

#[test]
fn what_no_system_can_have_is_refused() {
    let user = new_user();
    prepare(&user, ": >f");
    let long = "l/".repeat(2048);
    layer(&user, &["--file", &format!("/{long}f"), "f"]).failed(&["longer than"]);
    layer(&user, &["--symlink", "/s", &long]).failed(&["longer than"]);
    layer(&user, &["--symlink", "/s", ""]).failed(&["is not a path"]);
}

#[test]
fn links_in_a_directory_stay_links() {
    let user = new_user();
    prepare(
        &user,
        "mkdir -p real/lib real/empty real/sub; echo x >real/lib/x.1; ln -s x.1 real/lib/x; ln -s ../lib real/sub/lib; ln -s . real/X11; ln -s none real/dangling; ln -s real given",
    );
    // As a sandbox shows a tree: a directory with a link to each file.
    let home = user.home().display();
    prepare(
        &user,
        &format!(
            "mkdir -p there/tree; mv real/* there/tree; mkdir -p tree/lib tree/sub/lib; for f in lib/x.1 lib/x sub/lib/x.1; do ln -s {home}/there/tree/$f tree/$f; done; rmdir real; ln -s there/tree given2"
        ),
    );
    for given in ["there/tree", "tree", "given2"] {
        layer(&user, &["--directory", "/opt", given]).succeeded();
        let listed = listed(&user);
        for path in [
            "opt/lib/x -> x.1",
            "opt/sub/lib -> ../lib",
            "opt/X11 -> .",
            "opt/dangling -> none",
            "opt/empty/",
        ] {
            assert!(
                listed.contains(&format!(" {path}\n")),
                "{given}: {path}: {listed}"
            );
        }
    }
    prepare(&user, "ln -s ../../etc/passwd there/tree/out");
    layer(&user, &["--directory", "/opt", "there/tree"]).failed(&[
        "out",
        "etc/passwd",
        "not in the directory",
    ]);
}

#[test]
fn a_link_of_the_build_is_told_from_how_a_sandbox_shows_a_file() {
    let user = new_user();
    let home = user.home().display();
    prepare(
        &user,
        &format!(
            "mkdir -p root/out out; echo x >root/out/file; ln -s {home}/root/out/file out/file; ln -s /usr/bin/env out/absolute; ln -s ../none out/relative; echo '#!/bin/sh' >s; chmod 755 s; cp s t; chmod 644 t; chmod 755 root/out/file"
        ),
    );
    let mut arguments = vec![];
    for name in ["out/file", "out/absolute", "out/relative"] {
        arguments.extend(["--executable", name, name]);
    }
    for name in ["s", "t", "root/out/file"] {
        arguments.extend(["--source", name, name]);
    }
    arguments.extend(["--link", "told", "out/file"]);
    layer(&user, &arguments).succeeded();
    let listed = listed(&user);
    for path in [
        "out/file\n",
        "out/absolute -> /usr/bin/env\n",
        "out/relative -> ../none\n",
        &format!("told -> {home}/root/out/file\n"),
    ] {
        assert!(listed.contains(path), "{path}: {listed}");
    }
    for line in ["-rwxr-xr-x 0/0", "-rw-r--r-- 0/0"] {
        assert!(listed.contains(line));
    }
    let mode = |name: &str| {
        listed
            .lines()
            .find(|line| line.ends_with(&format!(" {name}")))
            .expect("there")[..10]
            .to_owned()
    };
    assert_eq!(
        [
            mode("s"),
            mode("t"),
            mode("root/out/file"),
            mode("out/file")
        ],
        ["-rwxr-xr-x", "-rw-r--r--", "-rw-r--r--", "-rwxr-xr-x"]
    );
}

#[test]
fn what_is_no_file_is_refused() {
    let user = new_user();
    prepare(&user, "mkfifo pipe");
    for arguments in [&["--file", "/pipe", "pipe"][..], &["--tar", "pipe"]] {
        layer(&user, arguments).failed(&["cannot open pipe", "it is not a regular file"]);
    }
}

#[test]
fn sources_share_directories_and_nothing_else() {
    let user = new_user();
    prepare(
        &user,
        "mkdir opt; echo x >opt/x; echo f >f; tar -cf below.tar opt; echo z >opt/x; tar -cf again.tar opt/x; tar -cf f.tar f; mkdir g; mv f g; cp -r g f; tar -cf dir.tar f; rm -r f; printf f >f",
    );
    layer(&user, &["--tar", "below.tar", "--file", "/opt", "f"])
        .failed(&["\"/opt\" is given twice", "by f, and by below.tar"]);
    layer(&user, &["--tar", "again.tar", "--symlink", "/opt", "/usr"]).failed(&[
        "/opt/x",
        "/opt",
        "not a directory",
    ]);
    layer(&user, &["--tar", "below.tar", "--tar", "again.tar"]).failed(&[
        "\"/opt/x\" is given twice",
        "by below.tar, and by again.tar",
    ]);
    layer(&user, &["--tar", "f.tar", "--tar", "dir.tar"]).failed(&["\"/f\" is given twice"]);
    layer(
        &user,
        &[
            "--tar",
            "below.tar",
            "--tar",
            "f.tar",
            "--empty-directory",
            "/opt",
        ],
    )
    .succeeded();
}

#[test]
fn names_are_never_altered() {
    let user = new_user();
    prepare(
        &user,
        "touch \"$(printf 'caf\\351')\"; tar -cf latin1.tar caf*; mkdir a; tar -cf up.tar -P a/../a",
    );
    layer(&user, &["--tar", "latin1.tar", "--empty-directory", "/z"]).succeeded();
    prepare(
        &user,
        "mkdir out; tar -xzf layer.tar.gz -C out; test -f \"out/$(printf 'caf\\351')\"",
    );
    layer(&user, &["--tar", "up.tar"]).failed(&["up.tar", "has '..' in its name"]);
    fs::write(user.path("-f"), "x").expect("can be written");
    layer(&user, &["--file", "-x", "-f"]).succeeded();
}

/// The arguments that merge an image of the layer `layer.tar.gz`, which is still to be given.
fn merge_of_one_layer(user: &User) -> Vec<&'static str> {
    prepare(user, "echo content >f");
    layer(user, &["--file", "/f", "f"]).succeeded();
    let image = [
        "image",
        "--platform",
        "linux/amd64",
        "--layer",
        "layer.json",
    ];
    let outputs = [
        "--manifest",
        "manifest",
        "--config",
        "config",
        "--descriptor",
        "image.json",
    ];
    user.run(&[&image[..], &outputs].concat()).succeeded();
    vec![
        "layout",
        "merge",
        "--root",
        "image.json",
        "--local-file",
        "manifest",
        "--local-file",
        "config",
    ]
}

/// Makes the layout `layout` of an image of one layer; returns the arguments that made it.
fn layout_of_one_layer(user: &User) -> Vec<&'static str> {
    let mut merge = merge_of_one_layer(user);
    merge.extend(["--local", "layer.json", "layer.tar.gz"]);
    merge.extend(["--output", "layout"]);
    user.run(&merge).succeeded();
    merge
}

#[test]
fn an_archived_layout_holds_only_what_was_said() {
    let user = new_user();
    let merge = layout_of_one_layer(&user);
    user.run(&merge).failed(&["layout is not empty"]);
    let archive = [
        "layout",
        "archive",
        "layout",
        "--format",
        "oci",
        "--output",
        "layout.tar",
    ];
    user.run(&archive).succeeded();

    let mut data = fs::read(user.path("layer.tar.gz")).expect("there");
    let blob = format!("layout/blobs/{}", digest(&data).replace(':', "/"));
    let middle = data.len() / 2;
    data[middle] ^= 1;
    fs::remove_file(user.path(&blob)).expect("there");
    fs::write(user.path(&blob), data).expect("can be written");
    user.run(&archive)
        .failed(&[&blob, "was given as sha256:", "but it has sha256:"]);
}

#[test]
fn a_blob_of_the_base_that_lost_bytes_is_not_linked() {
    let user = new_user();
    let mut merge = merge_of_one_layer(&user);
    let data = fs::read(user.path("layer.tar.gz")).expect("there");
    let blob = format!("base/blobs/{}", digest(&data).replace(':', "/"));
    fs::create_dir_all(user.path("base/blobs/sha256")).expect("can be made");
    fs::write(user.path(&blob), &data).expect("can be written");
    merge.extend(["--blob", &blob, "--output"]);
    user.run(&[&merge[..], &["whole"]].concat()).succeeded();

    fs::write(user.path(&blob), &data[1..]).expect("can be written");
    user.run(&[&merge[..], &["short"]].concat())
        .failed(&[&blob, "bytes"]);
}

#[test]
fn a_blob_that_is_no_file_is_a_fault() {
    let user = new_user();
    layout_of_one_layer(&user);
    user.run(&["verify", "layout"]).succeeded();
    let layer = digest(&fs::read(user.path("layer.tar.gz")).expect("there"));
    let blob = format!("layout/blobs/{}", layer.replace(':', "/"));
    for (script, problem) in [
        ("mkfifo", "it is not a regular file"),
        ("ln -s /dev/zero", "it is not a regular file"),
        (
            "ln -s ../nothing",
            "it is a link to ../nothing, which is not there",
        ),
        (
            "ln -s loop layout/blobs/sha256/loop; ln -s loop",
            "it is a link to loop, which leads nowhere",
        ),
    ] {
        prepare(&user, &format!("rm {blob}; {script} {blob}"));
        user.run(&["verify", "layout"]).failed(&[&layer, problem]);
    }
    prepare(&user, "rm layout/index.json; mkfifo layout/index.json");
    user.run(&["verify", "layout"])
        .failed(&["index.json", "it is not a regular file"]);
}

#[test]
fn an_archive_is_written_whole_and_over_no_directory() {
    let user = new_user();
    layout_of_one_layer(&user);
    prepare(&user, "mkdir directory; echo old >archive.tar");
    let archive = ["layout", "archive", "layout", "--format", "oci", "--output"];
    let rootfs = ["layout", "rootfs", "layout", "--tar"];
    for command in [&archive[..], &rootfs] {
        user.run(&[command, &["directory"]].concat())
            .failed(&["cannot write directory", "not a regular file"]);
    }
    let layer = digest(&fs::read(user.path("layer.tar.gz")).expect("there"));
    let blob = format!("layout/blobs/{}", layer.replace(':', "/"));
    prepare(&user, &format!("echo wrong >{blob}"));
    user.run(&[&archive[..], &["archive.tar"]].concat())
        .failed(&[&blob]);
    assert_eq!(fs::read(user.path("archive.tar")).expect("there"), b"old\n");
}

#[test]
fn paths_that_match_a_pattern_get_what_is_said_of_them() {
    let user = new_user();
    prepare(
        &user,
        "mkdir d; echo x >d/a.conf; echo y >d/b; : >d/$(printf '\\351'); tar --sort=name --owner=them:7 --group=those:8 --mode=0600 -cf own.tar d",
    );
    let content = [
        "--file",
        "/etc/app/x.conf",
        "d/b",
        "--file",
        "/etc/app/[id]",
        "d/b",
        "--symlink",
        "/etc/app/link",
        "x.conf",
        "--tar",
        "own.tar",
    ];
    let rules = [
        ["--metadata", "/etc/app/**", "uid=33 gid=34 uname=www-data"],
        ["--metadata", "**/*.conf", "mode=0640 time=86400"],
        ["--metadata", "/d/{a,b}.conf", "gname=nobody"],
        ["--metadata", "/etc", "mode=0711"],
        ["--metadata", "/etc/app/x.conf", "mode=0400"],
        ["--path-mode", "/etc/app/[id]", "0700"],
    ];
    let rules: Vec<&str> = rules.into_iter().flatten().collect();
    layer(&user, &[&content[..], &rules].concat()).succeeded();
    user.run(&["mtree", "layer.tar.gz", "--output", "listed"])
        .succeeded();
    let of_y = digest(b"y\n").replace(':', "digest=");
    let of_x = digest(b"x\n").replace(':', "digest=");
    let listed = fs::read_to_string(user.path("listed")).expect("is there");
    assert_eq!(
        listed.lines().collect::<Vec<_>>(),
        [
            "#mtree",
            "./etc type=dir mode=0711 uid=0 gid=0 time=0.000000000",
            "./etc/app type=dir mode=0755 uid=0 gid=0 time=0.000000000",
            &format!(
                "./etc/app/\\133id] type=file size=2 mode=0700 uid=33 gid=34 uname=www-data time=0.000000000 {of_y}"
            ),
            "./etc/app/link type=link link=x.conf mode=0777 uid=33 gid=34 uname=www-data time=0.000000000",
            &format!(
                "./etc/app/x.conf type=file size=2 mode=0400 uid=33 gid=34 uname=www-data time=86400.000000000 {of_y}"
            ),
            &listed_of_archive(&listed, "./d "),
            &format!(
                "./d/a.conf type=file size=2 mode=0640 uid=7 gid=8 uname=them gname=nobody time=86400.000000000 {of_x}"
            ),
            &listed_of_archive(&listed, "./d/b "),
            &listed_of_archive(&listed, "./d/\\351 "),
        ]
    );
    for (rule, word) in [
        (["/nowhere", "mode=0600"], "/nowhere"),
        (["/etc/app/*/x", "mode=0600"], "/etc/app/*/x"),
        (["/d/\u{fffd}", "mode=0600"], "/d/\u{fffd}"),
        (["**/\u{fffd}", "mode=0600"], "**/\u{fffd}"),
        (["/etc/**", "mode=9"], "\"9\""),
        (["/etc/**", "colour=red"], "colour=red"),
        (["/etc/**", ""], "says nothing"),
        (["/etc/**", "uid=1 uid=2"], "says uid twice"),
        (["/etc/[", "uid=1"], "/etc/["),
    ] {
        let said = [&content[..], &["--metadata"], &rule].concat();
        layer(&user, &said).failed(&[word]);
    }
}

#[test]
fn what_is_said_of_a_file_is_said_of_all_its_names() {
    let user = new_user();
    prepare(
        &user,
        "mkdir d; echo y >d/b; ln d/b d/h; tar --sort=name --owner=them:7 --group=those:8 -cf own.tar d",
    );
    let said = |pattern: &str| {
        let words = "uid=9 mode=0600";
        layer(&user, &["--tar", "own.tar", "--metadata", pattern, words])
    };
    said("d/b").succeeded();
    let listed = listed(&user);
    for start in ["-rw------- 9/8 ", "hrw------- 9/8 "] {
        assert!(
            listed.lines().any(|line| line.starts_with(start)),
            "{listed}"
        );
    }
    // Of another user, the archive's name is not.
    user.run(&["mtree", "layer.tar.gz", "--output", "m"])
        .succeeded();
    let mtree = fs::read_to_string(user.path("m")).expect("is there");
    let line = mtree.lines().find(|line| line.starts_with("./d/b "));
    let line = line.expect("is there");
    assert!(
        line.contains(" gname=those ") && !line.contains("uname"),
        "{line}"
    );
    said("d/h").failed(&["d/h", "a hard link has what it is another name of"]);
}

/// Links stay, and so does what others have open.
#[test]
fn what_is_written_goes_where_a_link_or_a_pipe_leads() {
    let user = new_user();
    layout_of_one_layer(&user);
    prepare(
        &user,
        "mkdir d; ln -s d/far link; ln -s link again; echo theirs >d/far; mkfifo d/pipe; ln -s d/pipe pipe",
    );
    let read = |path: &str| fs::read(user.path(path)).expect("can be read");
    for command in [
        &["layout", "archive", "layout", "--format", "oci", "--output"][..],
        &["layout", "rootfs", "layout", "--tar"],
        &["mtree", "layer.tar.gz", "--output"],
    ] {
        let to = |path: &str| user.run(&[command, &[path]].concat()).succeeded();
        to("plain");
        for link in ["again", "dangling"] {
            prepare(&user, "rm -f d/none dangling; ln -s d/none dangling");
            to(link);
            assert!(user.path(link).is_symlink() && user.path("link").is_symlink());
        }
        assert_eq!(read("d/far"), read("plain"));
        assert_eq!(read("d/none"), read("plain"));
        let pipe = user.path("d/pipe");
        let reader = std::thread::spawn(|| fs::read(pipe));
        to("pipe");
        let piped = reader.join().expect("no panic").expect("can be read");
        assert_eq!(piped, read("plain"));
        assert!(user.path("pipe").is_symlink());
        // The output of a process, which has more than what is written now.
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", "echo before >log; \"$@\" >>log", "sh"]);
        user.run_by(shell, &[command, &["/dev/stdout"]].concat())
            .succeeded();
        assert_eq!(read("log"), [b"before\n", &read("plain")[..]].concat());
        // Others write behind it.
        for (output, to) in [
            ("/dev/stdout", ">&3"),
            ("/dev/stderr", "2>&3"),
            ("/dev/fd/3", ""),
            ("/proc/self/fd/3", ""),
        ] {
            let mut shell = Command::new("sh");
            let script = format!("exec 3>log; echo before >&3; \"$@\" {to}; echo after >&3");
            shell.args(["-c", &script, "sh"]);
            user.run_by(shell, &[command, &[output]].concat())
                .succeeded();
            let expected = [b"before\n", &read("plain")[..], b"after\n"].concat();
            assert_eq!(read("log"), expected, "{output}");
        }
    }
    let left: Vec<_> = fs::read_dir(user.path("d")).expect("is there").collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

#[test]
fn two_outputs_are_no_one_file() {
    let user = new_user();
    prepare(
        &user,
        "echo x >x; mkdir d; echo theirs >out; ln -s ../out d/link; ln -s d far",
    );
    let outputs = |outputs: &[&str]| user.run(&[&["layer", "--file", "/a", "x"], outputs].concat());
    for second in ["out", "./out", "d/link", "far/../out"] {
        outputs(&["--output", "out", "--descriptor", second])
            .failed(&[&format!("out and {second} are one file")]);
    }
    let both = ["--output", "new", "--descriptor", "d/new"];
    outputs(&[&both[..], &["--unnamed-parents", "far/new"]].concat())
        .failed(&["d/new and far/new are one file"]);
    assert_eq!(fs::read(user.path("out")).expect("is there"), b"theirs\n");
    assert!(!user.path("new").exists());
    outputs(&both).succeeded();
    let given = |outputs: &str| {
        let mut shell = Command::new("sh");
        let script = format!("exec 3>open 4>open; \"$@\" {outputs}");
        shell.args(["-c", &script, "sh"]);
        user.run_by(shell, &["layer", "--file", "/a", "x"])
    };
    for outputs in [
        "--output open --descriptor /dev/fd/3",
        "--output /dev/fd/3 --descriptor d/../open",
        "--output /dev/fd/3 --descriptor /dev/fd/4",
    ] {
        given(outputs).failed(&["are one file"]);
    }
    // What is replaced, what nothing can replace, and what is not there yet.
    prepare(&user, "ln out d/hard; mkdir e; touch one other");
    outputs(&["--output", "out", "--descriptor", "d/hard"]).succeeded();
    // Nothing is lost there.
    given("--output /dev/fd/3 --descriptor /dev/fd/3").succeeded();
    outputs(&["--output", "/dev/stdout", "--descriptor", "/dev/stdout"]).succeeded();
}

#[test]
fn two_outputs_are_no_one_file_by_mounts() {
    let Some(mounts) = Mounts::or_skip() else {
        return;
    };
    let user = new_user();
    let names = "ln out d/hard; ln out d/soft";
    prepare(
        &user,
        &format!("echo x >x; mkdir d e; echo theirs >out; touch one other; {names}"),
    );
    let linked = "mount --bind d/hard one && mount --bind d/soft other";
    let twice = "mount --bind out one && mount --bind out other";
    for (places, outputs) in [
        (linked, "--output one --descriptor other"),
        (twice, "--output one --descriptor other"),
        (twice, "--output out --descriptor other"),
        ("mount --bind d e", "--output d/none --descriptor e/none"),
    ] {
        let layer = ["layer", "--file", "/a", "x"];
        let outputs: Vec<_> = outputs.split(' ').collect();
        user.run_by(mounts.within(places), &[&layer[..], &outputs].concat())
            .failed(&["are one file"]);
    }
    assert_eq!(fs::read(user.path("out")).expect("is there"), b"theirs\n");
}

#[test]
fn why_an_output_cannot_be_written_is_told_of_what_the_user_knows() {
    let user = new_user();
    layout_of_one_layer(&user);
    let list = |output: &str| {
        let list = ["mtree", "layer.tar.gz", "--output", output];
        user.run_with(&[("TMPDIR", "/nonexist")], &list)
    };
    let ran = list("none/list");
    assert!(!ran.stderr.contains(".oci-pull-all-"), "{}", ran.stderr);
    ran.failed(&["cannot write none/list", "No such file"]);
    list("list").succeeded();
    list("/dev/stdout").failed(&[
        "cannot write /dev/stdout",
        "in /nonexist first; set TMPDIR",
        "No such file",
    ]);
}

#[test]
fn a_full_disk_is_told_of_what_the_user_knows() {
    let Some(mounts) = Mounts::or_skip() else {
        return;
    };
    let user = new_user();
    let full = "mkdir t && mount -t tmpfs -o size=16k none t && export TMPDIR=$PWD/t";
    prepare(&user, "head -c 100000 /dev/urandom >big");
    let layer = ["layer", "--file", "/a", "big", "--descriptor", "json"];
    let layer = [&layer[..], &["--output", "/dev/stdout"]].concat();
    let ran = user.run_by(mounts.within(full), &layer);
    assert_eq!(ran.stdout, "");
    ran.failed(&["cannot write /dev/stdout", "set TMPDIR", "No space left"]);
}

#[test]
fn where_nothing_can_take_its_place_a_file_is_written_to() {
    let Some(mounts) = Mounts::or_skip() else {
        return;
    };
    let user = new_user();
    layout_of_one_layer(&user);
    let list = ["mtree", "layer.tar.gz", "--output"];
    user.run(&[&list[..], &["plain"]].concat()).succeeded();
    let plain = fs::read(user.path("plain")).expect("is there");
    prepare(&user, "mkdir d; touch d/out mounted; ln -s d/out link");
    let read_only = "mount --bind d d && mount --bind old d/out && mount -o remount,bind,ro d";
    for (places, output) in [
        ("mount --bind old mounted", "mounted"),
        (read_only, "d/out"),
        (read_only, "link"),
    ] {
        prepare(&user, "for i in 1 2 3; do cat plain; done >old");
        user.run_by(mounts.within(places), &[&list[..], &[output]].concat())
            .succeeded();
        assert_eq!(fs::read(user.path("old")).expect("is there"), plain);
        user.run_by(mounts.within(read_only), &[&list[..], &["d/new"]].concat())
            .failed(&["cannot write d/new", "Read-only file system"]);
    }
    // On a full disk, what is there stays.
    let full = "mkdir t && mount -t tmpfs -o size=16k none t && echo old >t/out && mount --bind t/out mounted";
    let script = format!("{full} && \"$@\"; [ \"$(cat t/out)\" = old ] && echo kept && exit 1");
    prepare(&user, "head -c 100000 /dev/urandom >big");
    let layer = ["layer", "--file", "/a", "big", "--descriptor", "plain.json"];
    let layer = [&layer[..], &["--output", "mounted"]].concat();
    let ran = user.run_by(mounts.shell(&script), &layer);
    assert_eq!(ran.stdout, "kept\n", "{}", ran.stderr);
    ran.failed(&["cannot write mounted", "No space left"]);
}

#[test]
fn a_file_of_another_user_stays_theirs() {
    let user = new_user();
    layout_of_one_layer(&user);
    let list = ["mtree", "layer.tar.gz", "--output"];
    user.run(&[&list[..], &["plain"]].concat()).succeeded();
    let plain = fs::read(user.path("plain")).expect("is there");
    let is_root = fs::metadata("/proc/self").expect("there").uid() == 0;
    let theirs = if is_root {
        4242
    } else {
        fs::metadata(user.home()).expect("there").uid()
    };
    prepare(
        &user,
        &format!("echo longer than before >old; chown {theirs} old; chmod 0600 old"),
    );
    user.run(&[&list[..], &["old"]].concat()).succeeded();
    let replaced = fs::metadata(user.path("old")).expect("is there").ino();
    user.run(&[&list[..], &["old"]].concat()).succeeded();
    let there = fs::metadata(user.path("old")).expect("is there");
    assert_eq!((there.uid(), there.mode() & 0o7777), (theirs, 0o600));
    assert_ne!(there.ino(), replaced, "it is written as a whole");
    assert_eq!(fs::read(user.path("old")).expect("is there"), plain);
}

/// By words of mtree(5), which other programs read.
#[test]
fn names_of_a_file_have_its_number_in_a_list() {
    let user = new_user();
    prepare(
        &user,
        "mkdir d; echo y >d/b; ln d/b d/h; ln -s b d/l; ln d/l d/m; ln d/l d/n; echo z >d/z; \
         tar --sort=name --numeric-owner --owner=7 --group=8 --mode=0640 --mtime=@1 -cf own.tar d; tar --delete -f own.tar d/l",
    );
    user.run(&["mtree", "own.tar", "--output", "list"])
        .succeeded();
    let listed = fs::read_to_string(user.path("list")).expect("is there");
    let [of_y, of_z] = [b"y\n", b"z\n"].map(|content| digest(content).replace(':', "digest="));
    let said = "mode=0640 uid=7 gid=8 time=1.000000000";
    assert_eq!(
        listed.lines().collect::<Vec<_>>(),
        [
            "#mtree",
            &format!("./d type=dir {said}"),
            &format!("./d/b type=file size=2 nlink=2 inode=1 {said} {of_y}"),
            &format!("./d/h type=file size=2 nlink=2 inode=1 {said} {of_y}"),
            "# ./d/m is a hard link to ./d/l, which no entry before it is",
            &format!("./d/m type=file nlink=2 inode=2 {said}"),
            "# ./d/n is a hard link to ./d/l, which no entry before it is",
            &format!("./d/n type=file nlink=2 inode=2 {said}"),
            &format!("./d/z type=file size=2 {said} {of_z}"),
        ]
    );
}

#[test]
fn what_an_archive_links_to_itself_has_one_name() {
    let user = new_user();
    prepare(&user, "echo w >s; ln s t; tar -cf own.tar s s");
    user.run(&["mtree", "own.tar", "--output", "list"])
        .succeeded();
    let listed = fs::read_to_string(user.path("list")).expect("is there");
    assert_eq!(listed.matches("./s type=file size=2 mode=").count(), 2);
}

/// The line of an entry that keeps what its archive says, which has the time at which it was made.
fn listed_of_archive(listed: &str, start: &str) -> String {
    let line = listed.lines().find(|line| line.starts_with(start));
    let line = line.expect("is there");
    assert!(
        line.contains(" uid=7 gid=8 uname=them gname=those "),
        "{line}"
    );
    line.to_owned()
}

#[test]
fn a_part_of_the_files_is_taken_and_the_others_are_named() {
    let user = new_user();
    prepare(
        &user,
        "mkdir -p tree/site-packages/p tree/bin; echo 1 >tree/site-packages/p/m.py; echo 2 >tree/bin/python; echo 3 >own.py",
    );
    let content = [
        "--directory",
        "/app/m.runfiles/py",
        "tree",
        "--file",
        "/app/m.runfiles/_main/own.py",
        "own.py",
        "--metadata",
        "**/*.py",
        "mode=0444",
        "--unused-inputs",
        "unused",
    ];
    let mut parts = Vec::new();
    for (picks, unused) in [
        (&["--take", "**/site-packages/**"][..], "own.py\n"),
        (
            &[
                "--take",
                "/app/m.runfiles/py/**",
                "--leave",
                "**/site-packages/**",
            ],
            "own.py\n",
        ),
        (
            &[
                "--leave",
                "**/site-packages/**",
                "--leave",
                "/app/m.runfiles/py/**",
            ],
            "",
        ),
        (&["--leave", "**/py/**", "--leave", "**/py"], "tree\n"),
        (&["--take", "/nothing/**"], "own.py\ntree\n"),
    ] {
        layer(&user, &[&content[..], picks].concat()).succeeded();
        let named = fs::read_to_string(user.path("unused")).expect("is there");
        assert_eq!(named, unused, "{picks:?}");
        let files = listed(&user);
        let files = files.lines().filter(|line| line.starts_with('-'));
        let files = files.filter_map(|line| line.rsplit(' ').next());
        parts.push(files.map(str::to_owned).collect::<Vec<_>>());
    }
    assert_eq!(
        parts,
        [
            vec!["app/m.runfiles/py/site-packages/p/m.py"],
            vec!["app/m.runfiles/py/bin/python"],
            vec!["app/m.runfiles/_main/own.py"],
            vec!["app/m.runfiles/_main/own.py"],
            vec![],
        ]
    );
}
