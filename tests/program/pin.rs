//! New digests for what a workspace declares, and no other change of its files.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use oci_pull_all_support::rootfs::Layer;
use oci_pull_all_support::{
    Answer, Content, EMPTY, Faulty, INDEX, Images, MANIFEST, Mounts, Registry, User, digest,
    manifest_of, noise, text,
};
use serde_json::{Value, json};

use crate::new_user;

const OLD: &str = "sha256:00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff";
/// What people write where they know no digest.
const ZEROS: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// A module file as nobody formats it, in which each `{KEY}` stands for something.
const MODULE: &str = r#"include("//third_party:images.MODULE.bazel")
include("//gone:images.MODULE.bazel")
bazel_dep(name = "oci_pull_all", repo_name = "layers")
images = use_extension("@layers//oci:extensions.bzl", "oci")
images.pull(
    name = "debian",
    digest = "{ONE}",
    image = "{IMAGE}", tag = "stable",     # größer, "as it is"
    platforms = ["linux/arm64/v8"])
images.pull(name = 'docker', digest = '{TWO}', image = "{IMAGE}-docker") # stable
"#;

const INCLUDED: &str = r#"DIGEST = "{THREE}" # sha256:0000
images.pull(name = "third", image = "{IMAGE}", digest = DIGEST, tag = "stable")
"#;

/// What makes `oci.pull` this module's.
const OURS: &str = "bazel_dep(name = \"oci_pull_all\")\noci = use_extension(\"@oci_pull_all//oci:extensions.bzl\", \"oci\")\n";

/// What Bazel says of them.
fn pin(name: &str, image: &str, tag: &str, digest: &str) -> Value {
    json!({
        "name": name, "image": image, "tag": tag, "digest": digest,
        "platforms": [], "plain_http": false, "docker_config": "",
    })
}

struct Case {
    user: User,
    registry: Registry,
    image: String,
}

impl Case {
    fn new(digests: [&str; 3]) -> Self {
        let registry = Registry::with_base_images();
        let image = format!("{}/library/debian", registry.host());
        let user = new_user();
        fs::create_dir(user.path("third_party")).expect("can be made");
        let case = Self {
            user,
            registry,
            image,
        };
        case.write(digests);
        case
    }

    fn write_files(&self, digests: [&str; 3]) {
        for (file, text) in self.files(digests) {
            fs::write(self.user.path(file), text).expect("can be written");
        }
    }

    fn write(&self, digests: [&str; 3]) {
        self.write_files(digests);
        let docker = format!("{}-docker", self.image);
        let mut debian = pin("debian", &self.image, "stable", digests[0]);
        debian["platforms"] = json!(["linux/arm64/v8"]);
        let pins = [
            debian,
            pin("docker", &docker, "", digests[1]),
            pin("third", &self.image, "stable", digests[2]),
        ];
        self.pins(&pins);
    }

    fn pins(&self, pins: &[Value]) {
        fs::write(self.user.path("pins.json"), json!(pins).to_string()).expect("can be written");
    }

    /// The files with these digests.
    fn files(&self, digests: [&str; 3]) -> [(&'static str, String); 2] {
        let fill = |text: &str| {
            text.replace("{IMAGE}", &self.image)
                .replace("{ONE}", digests[0])
                .replace("{TWO}", digests[1])
                .replace("{THREE}", digests[2])
        };
        [
            ("MODULE.bazel", fill(MODULE)),
            ("third_party/images.MODULE.bazel", fill(INCLUDED)),
        ]
    }

    fn run(&self, arguments: &[&str]) -> oci_pull_all_support::Ran {
        let pin = ["pin", "--pins", "pins.json"].iter().chain(arguments);
        self.user.run(&pin.copied().collect::<Vec<_>>())
    }

    fn expect(&self, digests: [&str; 3]) {
        for (file, text) in self.files(digests) {
            let found = fs::read_to_string(self.user.path(file)).expect("can be read");
            assert_eq!(found, text, "{file}");
        }
    }

    fn digest(&self, repository: &str) -> String {
        self.registry.digest(repository, "stable")
    }
}

#[test]
fn nothing_but_the_digests_changes() {
    let (other, third) = (OLD.replace('0', "1"), OLD.replace('0', "2"));
    let case = Case::new([OLD, &other, &third]);
    let debian = case.digest("library/debian");
    let docker = case.digest("library/debian-docker");

    let check = case.run(&["--check", "debian", "docker"]);
    assert!(check.stdout.contains(&debian), "{}", check.stdout);
    check.failed(&["outdated: debian docker", "//:pin -- debian docker"]);
    case.expect([OLD, &other, &third]);

    case.run(&["nobody"])
        .failed(&["\"nobody\"", "debian, docker, third"]);
    case.run(&["--tag", "stable"]).failed(&["<NAME>"]);

    // Its mode stays, too.
    let module = case.user.path("MODULE.bazel");
    fs::set_permissions(&module, PermissionsExt::from_mode(0o640)).expect("can be set");
    let ran = case.run(&["debian"]).succeeded();
    for line in [
        format!("debian: {}:stable", case.image),
        format!("  old: {OLD}"),
        format!("  new: {debian}"),
    ] {
        assert!(ran.stdout.lines().any(|l| l == line), "{}", ran.stdout);
    }
    assert!(ran.stdout.contains("created "), "{}", ran.stdout);
    case.expect([&debian, &other, &third]);
    let mode = fs::metadata(&module).expect("is there").permissions();
    assert_eq!(mode.mode() & 0o777, 0o640);

    // The tag of the second stands in a comment, as it did before there was an attribute.
    case.write([&debian, &other, &third]);
    case.run(&[]).succeeded();
    case.expect([&debian, &docker, &debian]);
    case.write([&debian, &docker, &debian]);
    let ran = case.run(&["debian", "docker"]).succeeded();
    assert_eq!(ran.stdout.matches("unchanged: ").count(), 2);
    let ran = case.run(&["--check"]);
    assert!(!ran.succeeded().stdout.contains("old: "));
    case.run(&["--check", "--tag", "no-such-tag", "debian"])
        .failed(&["cannot pin debian", "no-such-tag"]);
}

#[test]
fn one_digest_of_several_pulls_moves_with_all_of_them_or_not_at_all() {
    let case = Case::new([OLD, OLD, OLD]);
    let debian = case.digest("library/debian");
    let docker = case.digest("library/debian-docker");
    let path = case.user.path("MODULE.bazel").display().to_string();
    // Two are to have other digests than the third.
    case.run(&[]).failed(&[
        "cannot pin debian docker third",
        &format!("{path}:7"),
        &format!("{path}:10"),
        "images.MODULE.bazel:1",
        &format!("docker {docker}"),
    ]);
    case.expect([OLD, OLD, OLD]);
    // Nobody else is moved along.
    case.run(&["debian"])
        .failed(&["cannot pin debian", "docker unchanged"]);
    case.expect([OLD, OLD, OLD]);

    let other = OLD.replace('0', "1");
    case.write([OLD, &other, OLD]);
    case.run(&["debian", "third"]).succeeded();
    case.expect([&debian, &other, &debian]);
}

/// The table of docs/pins.md. What is `{D}` is the old digest and then the new one, and what is `{K}` stays the old one.
#[test]
fn a_digest_is_replaced_where_it_stands_as_the_page_says() {
    let case = Case::new([OLD, OLD, OLD]);
    let debian = case.digest("library/debian");
    let write = |file: &str, text: &str| {
        fs::write(case.user.path(file), text).expect("can be written");
    };
    let read = |file: &str| fs::read_to_string(case.user.path(file)).expect("there");
    case.pins(&[pin("debian", &case.image, "stable", OLD)]);
    let include = "include(\"//:i.MODULE.bazel\")\n";
    for (module, included) in [
        // Once, in whatever way.
        ("pull(digest = \"{D}\")", ""),
        ("pull(digest = r'{D}')", ""),
        ("pull(digest = \"\"\"{D}\"\"\")", ""),
        (
            "ALL = {\"debian\": \"{D}\"}\npull(digest = ALL[\"debian\"])",
            "",
        ),
        ("[pull(digest = d) for d in [\\\n'{D}']]", ""),
        ("pull(digest = D)", "D = '{D}'\r\n"),
        // Several times.
        (
            "# \"{D}\", and {K}\npull(digest = \"{D}\") # '{D}'",
            "# \"{D}\"",
        ),
        (
            "rules_oci.pull(digest = \"{D}\")\npull(digest = \"{D}\")",
            "",
        ),
        (
            "print('''a \"{D}\"''')\npull(digest = \"{D}\")",
            "D = \"{D}\"",
        ),
        ("X = \"app@{K}\"\npull(digest = \"{D}\")", "X = '{K} '"),
    ] {
        let text = |text: &str, new: &str| text.replace("{D}", new).replace("{K}", OLD);
        write("MODULE.bazel", &text(&format!("{include}{module}"), OLD));
        write("i.MODULE.bazel", &text(included, OLD));
        let ran = case.run(&[]);
        assert!(ran.success, "{module}: {}", ran.stderr);
        let expected = text(&format!("{include}{module}"), &debian);
        assert_eq!(read("MODULE.bazel"), expected);
        assert_eq!(read("i.MODULE.bazel"), text(included, &debian));
    }
    // Nowhere.
    let (half, rest) = OLD.split_at(40);
    for module in [
        format!("pull(digest = \"{half}\" + \"{rest}\")"),
        format!("pull(digest = \"{half}%s\" % \"{rest}\")"),
        format!("pull(digest = \"{half}\\\n{rest}\")"),
        format!("# \"{OLD}\"\npull(digest = D)"),
        format!("print(\"\"\"it is \"{OLD}\".\"\"\")\npull(digest = D)"),
        format!("X = \"app@{OLD}\"\npull(digest = X.split(\"@\")[1])"),
    ] {
        write("MODULE.bazel", &module);
        let advice = format!("write \"{debian}\" where debian has its digest from");
        case.run(&[]).failed(&["cannot pin debian", &advice]);
        assert_eq!(read("MODULE.bazel"), module);
    }
    // Beyond a link.
    let outside = new_user();
    fs::remove_file(case.user.path("i.MODULE.bazel")).expect("there");
    symlink(outside.path("i"), case.user.path("i.MODULE.bazel")).expect("can be made");
    let module = format!("{include}pull(digest = \"{{D}}\")\n");
    for (there, new) in [("D = \"{D}\"\n", OLD), ("# \"{D}\"\n", &*debian)] {
        let there = there.replace("{D}", OLD);
        fs::write(outside.path("i"), &there).expect("can be written");
        write("MODULE.bazel", &module.replace("{D}", OLD));
        let ran = case.run(&[]);
        assert_eq!(ran.success, new != OLD, "{}", ran.stderr);
        let told = ran.stderr.contains("i.MODULE.bazel:1");
        assert_eq!(told, new == OLD, "{}", ran.stderr);
        assert_eq!(read("MODULE.bazel"), module.replace("{D}", new));
        assert_eq!(read("i.MODULE.bazel"), there);
    }
}

#[test]
fn a_word_is_a_digest_where_an_attribute_says_so() {
    let case = Case::new([OLD, OLD, OLD]);
    let debian = case.digest("library/debian");
    case.pins(&[pin("stable", &case.image, "stable", "stable")]);
    let module = case.user.path("MODULE.bazel");
    let text = |digest: &str| {
        format!(
            "{OURS}WORD = \"stable\"\noci.pull(name = \"stable\", tag = \"stable\", digest= \"{digest}\")\n"
        )
    };
    fs::write(&module, text("stable")).expect("can be written");
    case.run(&[]).succeeded();
    let found = || fs::read_to_string(&module).expect("can be read");
    assert_eq!(found(), text(&debian));
    // Where it is computed, nothing is like it.
    let computed = text("stable").replace("= \"stable\")", "= WORD)");
    fs::write(&module, &computed).expect("can be written");
    case.run(&[]).failed(&["cannot pin stable", &debian]);
    assert_eq!(found(), computed);
}

#[test]
fn a_word_stands_for_one_pull_or_is_left() {
    let case = Case::new([OLD, OLD, OLD]);
    let debian = case.digest("library/debian");
    let module = case.user.path("MODULE.bazel");
    let run = |text: &str, digest: &str| {
        case.pins(&[pin("debian", &case.image, "stable", digest)]);
        fs::write(&module, text).expect("can be written");
        let ran = case.run(&[]);
        (ran, fs::read_to_string(&module).expect("can be read"))
    };
    // The beginning of another one, which is computed.
    let begun = |digest: &str| {
        format!(
            "{OURS}oci.pull(name = \"debian\", digest = \"{digest}\")\n\
             oci.pull(name = \"b\", digest = \"sha256:\"\n + HEX)\nd.startswith(\"sha256:\")\n"
        )
    };
    let (ran, text) = run(&begun("sha256:"), "sha256:");
    ran.succeeded();
    assert_eq!(text, begun(&debian));
    // What another ruleset pulls, and what cannot be replaced in its place.
    for (text, digest) in [
        (
            "oci.pull(digest = \"TODO\")\nother.pull(digest = \"TODO\")",
            "TODO",
        ),
        ("oci.pull(digest = \"\"\"\"\"\")", ""),
    ] {
        let (ran, left) = run(text, digest);
        ran.failed(&["cannot pin debian", &debian]);
        assert_eq!(left, text);
    }
}

#[test]
fn what_stands_for_no_digest_is_replaced_in_the_call_of_its_pull_alone() {
    let case = Case::new([OLD, OLD, OLD]);
    let debian = case.digest("library/debian");
    let module = case.user.path("MODULE.bazel");
    for word in ["sha256:TODO", ZEROS, "TODO", "", "SHA256:00"] {
        case.pins(&[pin("debian", &case.image, "stable", word)]);
        // Other extensions and comments have it, too.
        let others = format!(
            "rules.pull(name = \"alpine\", digest = \"{word}\") # 3.19\n\
             theirs = use_extension(\"@rules_oci//oci:extensions.bzl\", \"oci\")\n\
             theirs.pull(name = \"debian\", digest = \"{word}\")\n\
             print(dict(name = \"debian\", digest = \"{word}\"))\n\
             their = r\"@rules_oci//oci:extensions.bzl\"\nnext = use_extension(their, \"oci\")\n\
             next.pull(name = \"debian\", digest = \"{word}\")\n\
             other.thing(name = \"debian\", digest = \"{word}\")\n\
             # oci.pull(name = \"debian\", digest = \"{word}\")\nWORD = \"{word}\"\n"
        );
        let text = |digest: &str| {
            format!("{OURS}{others}oci.pull(name = \"debian\", digest = \"{digest}\")\n")
        };
        fs::write(&module, text(word)).expect("can be written");
        case.run(&[]).succeeded();
        let found = || fs::read_to_string(&module).expect("can be read");
        assert_eq!(found(), text(&debian), "{word}");
        // Where it is computed, none of them is its place.
        let computed = format!("{others}[oci.pull(name = n, digest = WORD) for n in NAMES]\n");
        fs::write(&module, &computed).expect("can be written");
        case.run(&[])
            .failed(&["cannot pin debian", "MODULE.bazel:1", &debian]);
        assert_eq!(found(), computed, "{word}");
    }
}

#[test]
fn what_is_ours_is_filled_in_however_its_strings_are_written() {
    let case = Case::new([OLD, OLD, OLD]);
    let debian = case.digest("library/debian");
    let module = case.user.path("MODULE.bazel");
    let dep = "bazel_dep(name = r\"oci_pull_all\", repo_name = \"\"\"ours\"\"\")\n";
    let root = "module(name = \"oci_pull_all\")\n";
    for (module_is, label, pull) in [
        (
            dep,
            "r\"@ours//oci:extensions.bzl\"",
            "oci.pull(name = \"debian\", digest = r\"{}\")",
        ),
        (
            dep,
            "\"\"\"@ours//oci:extensions.bzl\"\"\"",
            "oci.pull(name = '''debian''', digest = '''{}''')",
        ),
        (
            dep,
            "(\"@ours//oci:extensions.bzl\")",
            "oci.pull(name = (\n\"debian\"), digest = (\"{}\"))",
        ),
        (
            dep,
            "\\\n\"@ours//oci:extensions.bzl\"",
            "oci.pull \\\n(name = \\\n\"debian\", digest = \\\r\n\"{}\")",
        ),
        (
            root,
            "\"//oci:extensions.bzl\"",
            "oci.pull(name = \"debian\", digest = \"{}\")",
        ),
    ] {
        for word in ["TODO", "", ZEROS] {
            case.pins(&[pin("debian", &case.image, "stable", word)]);
            // A label of another module in any of these forms is another's.
            let theirs = "theirs = use_extension(r\"@rules_oci//oci:extensions.bzl\", \"oci\")\n\
                          theirs.pull(name = \"debian\", digest = \"TODO\")\n";
            let text = |digest: &str| {
                let pull = pull.replace("{}", digest);
                format!("{module_is}oci = use_extension({label}, \"oci\")\n{theirs}{pull}\n")
            };
            fs::write(&module, text(word)).expect("can be written");
            case.run(&[]).succeeded();
            let found = fs::read_to_string(&module).expect("can be read");
            assert_eq!(found, text(&debian));
        }
    }
}

#[test]
fn a_word_that_is_left_is_told_with_the_reason() {
    let case = Case::new([OLD, OLD, OLD]);
    let debian = case.digest("library/debian");
    let module = case.user.path("MODULE.bazel");
    case.pins(&[pin("debian", &case.image, "stable", "TODO")]);
    let path = module.display();
    let left = |text: &str, expected: &str| {
        let text = format!("{OURS}{text}");
        fs::write(&module, &text).expect("can be written");
        let expected = format!("{expected}: write \"{debian}\"");
        case.run(&[]).failed(&["cannot pin debian", &expected]);
        assert_eq!(fs::read_to_string(&module).expect("can be read"), text);
    };
    left(
        "# oci.pull(name = \"debian\", digest = \"TODO\")\n\
         theirs = use_extension(LABEL, \"oci\")\n\
         theirs.pull(name = \"debian\", digest = \"TODO\")\n\
         oci.pull(name = NAME, digest = \"TODO\")\n\
         oci.pull(name = \"debian\", digest = \"TODO\" + \"\")\n\
         oci.pull(name = \"other\", digest = \"TODO\")\n\
         WORD = \"TODO\"\n",
        &format!(
            "and no call of this workspace that is plainly a pull of oci_pull_all has it as digest beside name = \"debian\"; it stands at \
             {path}:3 (in a comment), \
             {path}:5 (in a call of theirs.pull, which this file does not plainly have from oci_pull_all), \
             {path}:6 (in a call of oci.pull whose name or digest is not a string alone), \
             {path}:7 (in a call of oci.pull whose name or digest is not a string alone), \
             {path}:9 (in no such call)"
        ),
    );
    left(
        "use_extension(\"@oci_pull_all//oci:extensions.bzl\", \"oci\").pull(name = \"debian\", digest = \"TODO\")\n\
         [oci.pull(name = name, digest = \"TODO\") for name in [\"debian\"]]\n",
        &format!("it stands at {path}:3 (in no such call), {path}:4 (in no such call)"),
    );
    let pull = "oci.pull(name = \"debian\", digest = \"TODO\")\n";
    left(
        &pull.repeat(2),
        &format!(
            "and more than one call of this workspace that is plainly a pull of oci_pull_all has it as digest beside name = \"debian\"; it \
             stands at {path}:3, {path}:4"
        ),
    );
}

#[test]
fn what_only_looks_included_is_not() {
    let case = Case::new([OLD, OLD, OLD]);
    let debian = case.digest("library/debian");
    case.pins(&[pin("debian", &case.image, "stable", OLD)]);
    let other = case.user.path("x.MODULE.bazel");
    let text = format!("digest = \"{OLD}\"\n");
    fs::write(&other, &text).expect("can be written");
    let module = "X = \"include('//:x.MODULE.bazel')\"\nmy.include('//:x.MODULE.bazel')\n";
    fs::write(case.user.path("MODULE.bazel"), module).expect("can be written");
    case.run(&[])
        .failed(&["cannot pin debian", "stands neither in", &debian]);
    assert_eq!(fs::read_to_string(&other).expect("can be read"), text);
}

#[test]
fn a_digest_that_stands_in_comments_alone_is_written_nowhere() {
    let case = Case::new([OLD, OLD, OLD]);
    let debian = case.digest("library/debian");
    case.pins(&[pin("debian", &case.image, "stable", OLD)]);
    let module = case.user.path("MODULE.bazel");
    let text = format!("oci.pull(name = \"debian\", digest = D) # was \"{OLD}\"\n");
    fs::write(&module, &text).expect("can be written");
    case.run(&[])
        .failed(&["cannot pin debian", "stands neither in", &debian]);
    let found = fs::read_to_string(&module).expect("can be read");
    assert_eq!(found, text);
}

#[test]
fn files_in_any_encoding_are_pinned_and_none_outside() {
    let case = Case::new([OLD, OLD, OLD]);
    let debian = case.digest("library/debian");
    case.pins(&[pin("debian", &case.image, "stable", OLD)]);
    let module = case.user.path("MODULE.bazel");
    let text = |digest: &str| [b"# \xf6\ndigest = \"", digest.as_bytes(), b"\"\n"].concat();
    fs::write(&module, text(OLD)).expect("can be written");
    case.run(&[]).succeeded();
    assert!(fs::read(&module).expect("can be read") == text(&debian));

    // A link to a file is that file, and what lies outside is nobody's.
    let outside = tempfile::NamedTempFile::new().expect("can be made");
    fs::write(outside.path(), format!("\"{OLD}\"")).expect("can be written");
    fs::write(
        case.user.path("a.MODULE.bazel"),
        format!("digest = \"{OLD}\""),
    )
    .expect("can be written");
    std::os::unix::fs::symlink("a.MODULE.bazel", case.user.path("b.MODULE.bazel")).expect("linked");
    let label = outside.path().display();
    let including = format!(
        "include (\"//:a.MODULE.bazel\")\ninclude(\n # why\n \"//:b.MODULE.bazel\")\ninclude(\"{label}\")\n"
    );
    fs::write(&module, including).expect("can be written");
    case.run(&[]).succeeded();
    let included = fs::read_to_string(case.user.path("a.MODULE.bazel")).expect("can be read");
    assert_eq!(included, format!("digest = \"{debian}\""));
    let outside = fs::read_to_string(outside.path()).expect("can be read");
    assert_eq!(outside, format!("\"{OLD}\""));
}

#[test]
fn a_link_that_leads_out_of_the_workspace_is_not_written_through() {
    let case = Case::new([OLD, OLD, OLD]);
    let debian = case.digest("library/debian");
    case.pins(&[pin("debian", &case.image, "stable", OLD)]);
    let outside = tempfile::tempdir().expect("can be made");
    let text = format!("digest = \"{OLD}\"");
    let file = outside.path().join("theirs.MODULE.bazel");
    fs::write(&file, &text).expect("can be written");
    let module = case.user.path("MODULE.bazel");
    symlink(&file, case.user.path("linked.MODULE.bazel")).expect("linked");
    symlink(outside.path(), case.user.path("linked")).expect("linked");
    for label in ["//:linked.MODULE.bazel", "//linked:theirs.MODULE.bazel"] {
        fs::write(&module, format!("include(\"{label}\")\n")).expect("can be written");
        let leads_out = ":1 (where a link leads out of the workspace, so it is not written)";
        case.run(&[]).failed(&[leads_out, &debian]);
        assert_eq!(fs::read_to_string(&file).expect("can be read"), text);
        // The same one inside may be another's, whatever it is quoted for.
        let with_other = format!("include(\"{label}\")\nOTHER = \"{OLD}\"\n");
        fs::write(&module, &with_other).expect("can be written");
        case.run(&[]).failed(&[leads_out, &debian]);
        assert_eq!(
            fs::read_to_string(&module).expect("can be read"),
            with_other
        );
    }
    fs::remove_file(&module).expect("is there");
    symlink(&file, &module).expect("linked");
    case.run(&["--check"]).failed(&["outdated: debian"]);
    case.run(&[]).failed(&["where a link leads out", &debian]);
    assert_eq!(fs::read_to_string(&file).expect("can be read"), text);
    // Nor is a tag read where the digest is not written.
    case.pins(&[pin("debian", &case.image, "", OLD)]);
    fs::write(&file, format!("{text} # stable\n")).expect("can be written");
    case.run(&[])
        .failed(&["nothing in this workspace says which tag"]);
    // What stands for no digest is told with its place.
    case.pins(&[pin("debian", &case.image, "stable", "TODO")]);
    let text = format!("{OURS}oci.pull(name = \"debian\", digest = \"TODO\")\n");
    fs::write(&file, &text).expect("can be written");
    let place = format!(
        "{}:3 (where a link leads out of the workspace, so it is not written)",
        module.display()
    );
    case.run(&[])
        .failed(&["no call of this workspace that is plainly", &place, &debian]);
    assert_eq!(fs::read_to_string(&file).expect("can be read"), text);
}

#[test]
fn a_number_sign_in_a_string_begins_no_comment() {
    let case = Case::new([OLD, OLD, OLD]);
    let debian = case.digest("library/debian");
    let module = case.user.path("MODULE.bazel");
    case.pins(&[pin("debian", &case.image, "", "TODO")]);
    let text = |digest: &str| {
        format!(
            "{OURS}oci.pull(name = \"debian\", digest = \"{digest}\", labels = \"a#b\") # stable\n"
        )
    };
    fs::write(&module, text("TODO")).expect("can be written");
    case.run(&[]).succeeded();
    let found = || fs::read_to_string(&module).expect("can be read");
    assert_eq!(found(), text(&debian));
    let string = text("TODO").replace("\"a#b\") # stable", "\"\"\"# stable\n\"\"\")");
    fs::write(&module, &string).expect("can be written");
    case.run(&[])
        .failed(&["nothing in this workspace says which tag"]);
    assert_eq!(found(), string);
}

#[test]
fn a_tag_in_a_comment_is_that_of_the_statement_which_is_the_pulls() {
    let case = Case::new([OLD, OLD, OLD]);
    let debian = case.digest("library/debian");
    case.pins(&[pin("debian", &case.image, "", OLD)]);
    let module = case.user.path("MODULE.bazel");
    let text = |digest: &str, tag: &str| {
        format!(
            "{OURS}theirs.pull(name = \"debian\", digest = \"{digest}\") # 3.19\n\
             oci.pull(name = \"other\", digest = \"{digest}\") # 3.20\n\
             oci.pull(name = \"debian\", digest = \"{digest}\"){tag}\n"
        )
    };
    fs::write(&module, text(OLD, "")).expect("can be written");
    case.run(&[])
        .failed(&["nothing in this workspace says which tag"]);
    fs::write(&module, text(OLD, " # stable")).expect("can be written");
    case.run(&[]).succeeded();
    let found = fs::read_to_string(&module).expect("can be read");
    assert_eq!(found, text(&debian, " # stable"));
}

#[test]
fn what_a_comment_says_asks_nobody() {
    let case = Case::new([OLD, OLD, OLD]);
    let debian = case.digest("library/debian");
    case.pins(&[pin("debian", &case.image, "stable", OLD)]);
    let module = case.user.path("MODULE.bazel");
    let text =
        |digest: &str| format!("# use_repo_rule is not used\nd = '{digest}' # use_repo_rule\n");
    fs::write(&module, text(OLD)).expect("can be written");
    case.run(&["--bazel", "no-such-bazel"]).succeeded();
    assert_eq!(
        fs::read_to_string(&module).expect("can be read"),
        text(&debian)
    );
    // What is behind a number sign in a string is no comment.
    let text = text(OLD) + "x = '#'; r = use_repo_rule('//:r.bzl', 'r')\n";
    fs::write(&module, text).expect("can be written");
    case.run(&["--bazel", "no-such-bazel"])
        .failed(&["no-such-bazel"]);
}

#[test]
fn what_repository_rules_pull_is_pinned_whatever_names_bazel_gives() {
    let case = Case::new([OLD, OLD, OLD]);
    let debian = case.digest("library/debian");
    case.pins(&[]);
    let included = |digest: &str| {
        format!(
            "whole = use_repo_rule(\"@layers//oci:defs.bzl\", \"oci_pull_all\")\n\
             whole(name = \"debian\", digest = \"{digest}\")\n"
        )
    };
    let attributes = format!(
        "oci_pull_all(\n  image = \"{}\",\n  tag = \"stable\",\n  digest = \"{OLD}\",\n)\n",
        case.image
    );
    let file = "/oci/private/repositories";
    let behind = format!("{attributes}#   /x{file}/oci_pull_all.bzl:20:31\n");
    let before =
        format!("load(\"@@layers+/{file}:oci_pull_all.bzl\", \"oci_pull_all\")\n{attributes}");
    for (include, canonical, printed) in [
        ("\"//:x.MODULE.bazel\"", "_main~_repo_rules~debian", &behind),
        ("r\"//:x.MODULE.bazel\"", "+_repo_rules+debian", &behind),
        (
            "\"\"\"//:x.MODULE.bazel\"\"\"",
            "+oci_pull_all+debian",
            &before,
        ),
    ] {
        // And as Windows ends lines.
        for line_end in ["\n", "\r\n"] {
            let names = json!({"": "", "debian": canonical, "layers": "layers+"});
            let printed = format!("## @debian:\n{printed}").replace('\n', line_end);
            fs::write(case.user.path("show_repo"), printed).expect("can be written");
            let names = format!("{names}{line_end}");
            fs::write(case.user.path("dump_repo_mapping"), names).expect("can be written");
            let bazel = case.user.write_script("bazel", "exec cat \"$2\"");
            let module = format!("include({include})\n");
            fs::write(case.user.path("MODULE.bazel"), module).expect("can be written");
            let file = case.user.path("x.MODULE.bazel");
            fs::write(&file, included(OLD)).expect("can be written");
            let bazel = bazel.display().to_string();
            case.run(&["--bazel", &bazel]).succeeded();
            let found = fs::read_to_string(&file).expect("can be read");
            assert_eq!(found, included(&debian), "{canonical}");
        }
    }
}

#[test]
fn a_command_that_failed_is_shown_as_it_can_be_run() {
    let case = Case::new([OLD, OLD, OLD]);
    let script = "echo \"ERROR: no\" >&2\nexit 7";
    let bazel = case.user.write_script("bazel", script);
    let module = case.user.path("MODULE.bazel");
    fs::write(&module, "r = use_repo_rule('//:r.bzl', 'r')\n").expect("can be written");
    let bazel = bazel.display().to_string();
    case.run(&["--bazel", &bazel])
        .failed(&[&format!("{bazel} mod dump_repo_mapping '' failed")]);
}

#[test]
fn what_is_pinned_by_sha512_stays_so() {
    let case = Case::new([OLD, OLD, OLD]);
    let old = format!("sha512:{}", "0f".repeat(64));
    let module = case.user.path("MODULE.bazel");
    let before = format!("{OURS}oci.pull(name = \"debian\", digest = \"");
    let after = "\")";
    for old in [old.as_str(), "sha512:TODO"] {
        case.pins(&[pin("debian", &case.image, "stable", old)]);
        fs::write(&module, format!("{before}{old}{after}")).expect("can be written");
        case.run(&["--check"]).failed(&["outdated: debian"]);
        case.run(&[]).succeeded();
        let new = fs::read_to_string(&module).expect("can be read");
        let new = new.strip_prefix(&before).expect("it stays");
        let new = new.strip_suffix(after).expect("it stays");
        assert!(new.starts_with("sha512:") && new != old, "{new}");
        case.pins(&[pin("debian", &case.image, "stable", new)]);
        case.run(&["--check"]).succeeded();
    }
}

#[test]
fn a_digest_that_is_written_nowhere_is_told() {
    let case = Case::new([OLD, OLD, OLD]);
    let debian = case.digest("library/debian");
    let computed = OLD.replace('0', "2");
    for digest in ["", computed.as_str()] {
        case.pins(&[
            pin("computed", &case.image, "stable", digest),
            pin("third", &case.image, "stable", OLD),
        ]);
        // One that cannot be pinned keeps nobody from the others.
        case.write([OLD, OLD, OLD]);
        case.pins(&[
            pin("computed", &case.image, "stable", digest),
            pin("third", &case.image, "stable", OLD),
        ]);
        case.run(&[])
            .failed(&["cannot pin computed", &format!("\"{debian}\"")]);
        case.expect([&debian, &debian, &debian]);
    }
    case.pins(&[pin("untagged", &case.image, "", &computed)]);
    case.run(&[])
        .failed(&["cannot pin untagged", "tag = \"TAG\"", "--tag"]);
    case.pins(&[
        pin("bad", "UPPER CASE", "x", OLD),
        pin("third", &case.image, "stable", OLD),
    ]);
    case.write_files([OLD, OLD, OLD]);
    let ran = case.run(&["--json"]);
    let found: Value = serde_json::from_str(&ran.stdout).expect("is JSON");
    assert_eq!(found[0]["digest"], OLD);
    // Nor is it moved along.
    ran.failed(&["cannot pin bad", "UPPER CASE", "bad unknown, third "]);
    case.pins(&[]);
    case.run(&[]).failed(&["declares nothing to pin"]);
}

#[test]
fn a_bazel_that_does_not_tell_keeps_nobody_from_the_others() {
    let case = Case::new([OLD, OLD, OLD]);
    let debian = case.digest("library/debian");
    case.pins(&[pin("debian", &case.image, "stable", OLD)]);
    let module = case.user.path("MODULE.bazel");
    let text = fs::read_to_string(&module).expect("can be read");
    let text = text + "whole = use_repo_rule(\"@layers//oci:defs.bzl\", \"oci_pull_all\")\n";
    fs::write(&module, &text).expect("can be written");
    case.run(&["--bazel", "no-such-bazel"])
        .failed(&["no-such-bazel", "use_repo_rule", "--bazel"]);
    let found = fs::read_to_string(&module).expect("can be read");
    assert_eq!(found, text.replace(OLD, &debian));
}

#[test]
fn other_programs_read_what_was_found() {
    let case = Case::new([OLD, OLD, OLD]);
    let debian = case.digest("library/debian");
    case.pins(&[
        pin("debian", &case.image, "stable", &debian),
        pin("old", &case.image, "stable", OLD),
        pin("bad", &case.image, "no-such-tag", OLD),
    ]);
    let ran = case.run(&["--check", "--json"]);
    let found: Value = serde_json::from_str(&ran.stdout).expect("is JSON");
    ran.failed(&["outdated: old"]);
    assert_eq!(found[0]["moves"], false);
    assert_eq!(found[1]["moves"], true);
    assert_eq!(found[1]["digest"], OLD);
    assert_eq!(found[1]["new"], debian.as_str());
    let error = found[2]["error"].as_str().expect("it has one");
    assert!(
        error.contains("tag no-such-tag")
            && error.contains("check the repository's name, and the tag"),
        "{error}"
    );
}

#[test]
fn other_programs_read_something_where_nothing_was_asked() {
    let case = Case::new([OLD, OLD, OLD]);
    let ran = case.run(&["--json", "nobody"]);
    assert_eq!(ran.stdout, "[]\n");
    ran.failed(&["\"nobody\""]);
    case.pins(&[]);
    let ran = case.run(&["--json"]);
    assert_eq!(ran.stdout, "[]\n");
    ran.failed(&["declares nothing to pin"]);
    fs::remove_file(case.user.path("pins.json")).expect("is there");
    let ran = case.run(&["--json"]);
    assert_eq!(ran.stdout, "[]\n");
    ran.failed(&["pins.json"]);
}

#[test]
fn a_refusal_says_what_is_known_of_each_pull() {
    let case = Case::new([OLD, OLD, OLD]);
    case.pins(&[
        pin("debian", &case.image, "stable", OLD),
        pin("bad", &case.image, "no-such-tag", OLD),
        pin("docker", &case.image, "stable", OLD),
    ]);
    let ran = case.run(&["debian", "bad"]);
    assert!(!ran.stderr.contains("bad unchanged"), "{}", ran.stderr);
    ran.failed(&["cannot pin debian", "bad unknown", "docker unchanged"]);
    case.run(&["--check", "--tag", "stable", "debian"])
        .failed(&["//:pin -- debian --tag stable"]);
}

#[test]
fn other_programs_read_what_was_refused() {
    let case = Case::new([OLD, OLD, OLD]);
    case.pins(&[pin("gone", &case.image, "stable", &OLD.replace('0', "9"))]);
    let ran = case.run(&["--json"]);
    let found: Value = serde_json::from_str(&ran.stdout).expect("is JSON");
    ran.failed(&["cannot pin gone", "stands neither in"]);
    let error = found[0]["error"].as_str().expect("it has one");
    assert!(error.contains("stands neither in"), "{error}");
}

#[test]
fn what_is_pinned_may_be_too_old() {
    let mut registry = oci_pull_all_support::Images::default();
    let dated = registry.add_artifact("db", "a/b", &[(Some("f"), "a/c", b"x".to_vec())]);
    registry.tag("db", "2", &dated);
    // One that only says so in an archive of its own.
    let archive = Layer::new().file(
        "metadata.json",
        r#"{"Version":2,"UpdatedAt":"0001-01-01T00:00:00Z","built":"2026-11-18T00:00:00.1Z"}"#,
    );
    let blobs = [(Some("db.tar"), "a/d", archive.0)];
    let silent = registry.add_artifact_without_date("silent", "a/b", &blobs);
    registry.tag("silent", "2", &silent);
    let undated = registry.add_image("app", &[100]);
    registry.tag("app", "1", &undated);
    // What is called as a database's is called, and a database that only says when it was pushed.
    let mut of_metadata = |repository: &str, metadata: &[u8]| {
        let blobs = [(Some("metadata.json"), "a/d", metadata.to_vec())];
        let digest = registry.add_artifact(repository, "a/b", &blobs);
        registry.tag(repository, "1", &digest);
        digest
    };
    let other = of_metadata("other", b"{\"name\":\"chart\"}");
    let pushed = of_metadata("pushed", b"{\"built\":\"0001-01-01T00:00:00Z\"}");
    let registry = Registry::with(registry);
    let case = Case {
        image: format!("{}/db", registry.host()),
        user: new_user(),
        registry,
    };
    fs::write(case.user.path("MODULE.bazel"), "").expect("can be written");
    let app = format!("{}/app", case.registry.host());
    let database = format!("{}/silent", case.registry.host());
    case.pins(&[
        pin("db", &case.image, "2", &dated),
        pin("silent", &database, "2", &silent),
        pin("app", &app, "1", &undated),
        pin("other", &app.replace("/app", "/other"), "1", &other),
        pin("pushed", &app.replace("/app", "/pushed"), "1", &pushed),
    ]);
    let ran = case.run(&["--check", "--max-age", "520w"]).succeeded();
    assert!(
        ran.stderr.contains("not judged: app pushed\n"),
        "{}",
        ran.stderr
    );
    let ran = case.run(&["--check", "--max-age", "0h"]);
    assert!(ran.stdout.contains("created 2026-11-20"), "{}", ran.stdout);
    assert!(ran.stdout.contains("created 2026-11-18"), "{}", ran.stdout);
    ran.failed(&[
        "error: too old: db silent other pushed\n",
        "not judged: app\n",
    ]);
    let ran = case.run(&["--check", "--max-age", "520w", "--json"]);
    let found: Value = serde_json::from_str(&ran.stdout).expect("is JSON");
    let found = found.as_array().expect("a list").iter();
    let pushed: Vec<&Value> = found.map(|found| &found["only_pushed"]).collect();
    assert_eq!(pushed, [false, false, false, false, true]);
    case.run(&["--max-age", "5d"]).failed(&["--check"]);
    case.run(&["--check", "--max-age", "5"]).failed(&["12h"]);
}

/// An index of images that were made at these times, each with its architecture, under the tag `1`; returns its digest.
fn add_index(images: &mut Images, repository: &str, created: &[(&str, &str)]) -> String {
    let entries: Vec<Value> = created
        .iter()
        .map(|(architecture, created)| {
            let digest = images.add_image_of(repository, noise(7, 10), |config| {
                config["architecture"] = json!(architecture);
                config["created"] = json!(created);
            });
            let size = images.manifest(&digest).to_string().len();
            json!({
                "mediaType": MANIFEST, "digest": digest, "size": size,
                "platform": {"os": "linux", "architecture": architecture},
            })
        })
        .collect();
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
    let index = images.add_manifest(repository, INDEX, index.to_string().into_bytes());
    let digest = text(&index["digest"]);
    images.tag(repository, "1", digest);
    digest.to_owned()
}

#[test]
fn the_oldest_date_counts_and_what_is_none_is_told() {
    const OLD_DATE: &str = "2020-01-02T03:04:05Z";
    let mut images = Images::default();
    let mut pins = Vec::new();
    let digest = add_index(
        &mut images,
        "mixed",
        &[("amd64", "2026-11-01T00:00:00Z"), ("arm64", OLD_DATE)],
    );
    pins.push(("mixed", digest.clone()));
    pins.push(("chosen", digest));
    for (name, created) in [
        ("future", "2999-01-01T00:00:00Z"),
        ("garbage", "\u{202e}yesterday\n"),
        ("leap", "2020-01-01T00:00:60Z"),
        ("fair", "2020-01-01T0:00:00,5Z"),
        ("zero", "0001-01-01T00:00:00Z"),
    ] {
        pins.push((name, add_index(&mut images, name, &[("amd64", created)])));
    }
    let registry = Registry::with(images);
    let user = new_user();
    fs::write(user.path("MODULE.bazel"), "").expect("can be written");
    let pins: Vec<Value> = pins
        .iter()
        .map(|(name, digest)| {
            let repository = if *name == "chosen" { "mixed" } else { name };
            let image = format!("{}/{repository}", registry.host());
            let mut pin = pin(name, &image, "1", digest);
            if *name == "chosen" {
                pin["platforms"] = json!(["linux/amd64"]);
            }
            pin
        })
        .collect();
    fs::write(user.path("pins.json"), json!(pins).to_string()).expect("can be written");
    let check = |more: &[&str]| {
        let check = ["pin", "--pins", "pins.json", "--check"];
        user.run(&[&check, more].concat())
    };
    check(&["--max-age", "300w"]).failed(&[
        "too old: mixed fair",
        "cannot pin future",
        "2999-01-01 00:00:00 UTC, which is yet to come",
        "cannot pin garbage",
        r#""\u{202e}yesterday\n" is no time"#,
        r#""2020-01-01T00:00:60Z" is no time"#,
        "not judged: zero",
    ]);
    let ran = check(&["--max-age", "300w", "--json"]);
    let found: Value = serde_json::from_str(&ran.stdout).expect("is JSON");
    let of = |key: &str| -> Vec<Value> {
        let found = found.as_array().expect("a list").iter();
        found.map(|found| found[key].clone()).collect()
    };
    let created = of("created");
    assert_eq!(created[0], OLD_DATE);
    assert_eq!(created[1], "2026-11-01T00:00:00Z");
    assert_eq!(of("too_old")[..2], [json!(true), json!(false)]);
    let failed: Vec<bool> = of("error").iter().map(|error| !error.is_null()).collect();
    assert_eq!(failed, [false, false, true, true, true, false, false]);
    // Nobody asked for an age, so nothing is judged.
    let ran = check(&["--json"]).succeeded();
    let found: Value = serde_json::from_str(&ran.stdout).expect("is JSON");
    assert_eq!(found[0]["created"], OLD_DATE);
    assert_eq!(found[3]["created"], Value::Null);
}

#[test]
fn a_tag_of_something_else_is_not_followed_unasked() {
    let mut images = Images::default();
    let image = images.add_image("app", &[100]);
    let artifact = images.add_artifact("app", "a/b", &[(Some("f"), "a/c", b"x".to_vec())]);
    images.tag("app", "image", &image);
    images.tag("app", "artifact", &artifact);
    let registry = Registry::with(images);
    let user = new_user();
    let app = format!("{}/app", registry.host());
    for (tag, old, new) in [
        ("artifact", &image, &artifact),
        ("image", &artifact, &image),
    ] {
        let pins = json!([pin("app", &app, tag, old)]).to_string();
        fs::write(user.path("pins.json"), pins).expect("can be written");
        let module = user.path("MODULE.bazel");
        let text = format!("oci.pull(name = \"app\", digest = \"{old}\")\n");
        fs::write(&module, &text).expect("can be written");
        let ran = user.run(&["pin", "--pins", "pins.json"]);
        ran.failed(&[&format!("its tag points to an {tag} now"), new]);
        assert_eq!(fs::read_to_string(&module).expect("can be read"), text);
    }
}

#[test]
fn a_date_may_be_embedded() {
    let mut images = Images::default();
    let metadata = br#"{"UpdatedAt":"2020-01-02T03:04:05Z"}"#;
    let config = images.add_blob("db", EMPTY, b"{}".to_vec());
    let layer = json!({
        "mediaType": "a/b", "digest": digest(metadata), "size": metadata.len(),
        "data": BASE64_STANDARD.encode(metadata),
        "annotations": {"org.opencontainers.image.title": "metadata.json"},
    });
    let manifest = manifest_of(&config, &[layer]).to_string();
    let manifest = images.add_manifest("db", MANIFEST, manifest.into_bytes());
    let digest = text(&manifest["digest"]);
    images.tag("db", "2", digest);
    let registry = Registry::with(images);
    let user = new_user();
    fs::write(user.path("MODULE.bazel"), "").expect("can be written");
    let pins = [pin("db", &format!("{}/db", registry.host()), "2", digest)];
    fs::write(user.path("pins.json"), json!(pins).to_string()).expect("can be written");
    let check = ["pin", "--pins", "pins.json", "--check", "--max-age", "5d"];
    user.run(&check).failed(&["too old: db"]);
}

#[test]
fn a_move_is_told_whatever_else_is_not_found_out() {
    let case = Case::new([OLD, OLD, OLD]);
    let debian = case.digest("library/debian");
    case.pins(&[
        pin("gone", &case.image, "stable", OLD),
        pin("none", &case.image, "stable", "TODO"),
        pin("bad", &case.image, "no-such-tag", OLD),
        pin("untagged", &case.image, "", &OLD.replace('0', "3")),
    ]);
    let reference = format!("{}:stable", case.image);
    let ran = case.run(&["--check", "--max-age", "5d"]);
    assert_eq!(ran.stdout.matches(&debian).count(), 2, "{}", ran.stdout);
    ran.failed(&["outdated: gone none", "cannot pin gone", OLD]);
    let ran = case.run(&["--check", "--max-age", "5d", "--json"]);
    let found: Value = serde_json::from_str(&ran.stdout).expect("is JSON");
    for number in [0, 1] {
        let found = &found[number];
        assert_eq!(found["moves"], true, "{found}");
        assert_eq!(found["new"], debian.as_str(), "{found}");
        assert_eq!(found["reference"], reference.as_str(), "{found}");
        assert!(found["error"].is_string(), "{found}");
    }
    let reference = format!("{}:no-such-tag", case.image);
    assert_eq!(found[2]["reference"], reference.as_str());
    assert_eq!(found[3]["reference"], case.image.as_str());
}

#[test]
fn an_empty_digest_is_filled_in_where_it_is_clear_whose_it_is() {
    let case = Case::new([OLD, OLD, OLD]);
    let (debian, docker) = (
        case.digest("library/debian"),
        case.digest("library/debian-docker"),
    );
    let module = case.user.path("MODULE.bazel");
    let pull = |name: &str, digest: &str| {
        format!(
            "{OURS}oci.pull(name = \"{name}\", env = \"\", a_digest = \"\", digest = {digest})\n"
        )
    };
    let run = |pins: &[Value], text: &str| {
        case.pins(pins);
        fs::write(&module, text).expect("can be written");
        let ran = case.run(&[]);
        (ran, fs::read_to_string(&module).expect("can be read"))
    };
    let (one, two) = (
        pin("one", &case.image, "stable", ""),
        pin("two", &case.image, "stable", ""),
    );
    let text = pull("one", "\"\"");
    let (ran, found) = run(std::slice::from_ref(&one), &text);
    ran.succeeded();
    assert_eq!(found, pull("one", &format!("\"{debian}\"")));
    let text = text + &pull("two", "''");
    let other = pin("two", &format!("{}-docker", case.image), "stable", "");
    let (ran, found) = run(&[one.clone(), other], &text);
    ran.succeeded();
    let filled = |digest: &str| format!("\"{digest}\"");
    assert_eq!(
        found,
        pull("one", &filled(&debian)) + &pull("two", &format!("'{docker}'"))
    );
    // That of the second is another's.
    let (ran, found) = run(std::slice::from_ref(&one), &text);
    ran.succeeded();
    assert_eq!(found, pull("one", &filled(&debian)) + &pull("two", "''"));
    // Of two of one name, one is computed.
    let (ran, found) = run(&[one, two.clone(), two], &text);
    ran.failed(&["\"\" is no digest", "MODULE.bazel:6", &debian]);
    assert_eq!(found, pull("one", &filled(&debian)) + &pull("two", "''"));
}

#[test]
fn a_platform_that_the_new_image_lacks_is_told_before_anything_is_pinned() {
    let content = Content::image(&[noise(30, 2000), noise(31, 48), noise(30, 2000)]);
    let digest = content.digest.clone();
    let registry = {
        let manifest = content.clone().answer_to(&digest);
        Faulty::start(content, move |seen, answer| {
            match (seen.path.ends_with("/manifests/moving"), seen.earlier) {
                (true, 0) => answer,
                (true, 1) => Answer::new(503, ""),
                (true, _) => manifest.clone(),
                _ => answer,
            }
        })
    };
    let user = new_user();
    let text = |digest: &str| format!("oci.pull(name = \"app\", digest = \"{digest}\")\n");
    let pins = |platform: &str| {
        let mut app = pin("app", &format!("{}/app", registry.host()), "moving", OLD);
        app["platforms"] = json!([platform]);
        fs::write(user.path("pins.json"), json!([app]).to_string()).expect("can be written");
    };
    let file = user.path("pins.bzl");
    fs::write(&file, text(OLD)).expect("can be written");
    pins("linux/s390x");
    let pins_file = user.path("pins.json").display().to_string();
    user.run_with(
        &[("BUILD_WORKING_DIRECTORY", "/")],
        &["pin", "--pins", &pins_file],
    )
    .failed(&["no MODULE.bazel in /", "--module"]);
    symlink("pins.bzl", user.path("MODULE.bazel")).expect("can be made");
    let below = user.path("a/b");
    fs::create_dir_all(&below).expect("can be made");
    let below = below.display().to_string();
    let run = || {
        user.run_with(
            &[("BUILD_WORKING_DIRECTORY", &below)],
            &[
                "pin",
                "app",
                "--pins",
                &pins_file,
                "--plain-http",
                &registry.host(),
            ],
        )
    };
    run().failed(&["cannot pin app", "tag moving"]);
    run().failed(&["cannot pin app", "linux/s390x", "linux/amd64"]);
    let found = || fs::read_to_string(&file).expect("can be read");
    assert_eq!(found(), text(OLD));

    pins("linux/amd64");
    let ran = run().succeeded();
    assert!(ran.stdout.contains("; 2.00 KiB"), "{}", ran.stdout);
    assert_eq!(found(), text(&digest));
    assert!(user.path("MODULE.bazel").is_symlink());
}

#[test]
fn of_several_files_none_is_changed_unless_all_can_be_or_it_is_told() {
    let Some(mounts) = Mounts::or_skip() else {
        return;
    };
    let other = OLD.replace('0', "1");
    let case = Case::new([OLD, &other, OLD]);
    let debian = case.digest("library/debian");
    let read_only =
        |path: &str| format!("mount --bind {path} {path} && mount -o remount,bind,ro {path}");
    let (directory, file) = ("third_party", "third_party/images.MODULE.bazel");
    let run = |places: &str| {
        let pin = ["pin", "--pins", "pins.json", "debian", "third"];
        case.user.run_by(mounts.within(places), &pin)
    };
    run(&read_only(directory)).failed(&["cannot write", file, "Read-only file system"]);
    case.expect([OLD, &other, OLD]);
    let module = case.user.path("MODULE.bazel").display().to_string();
    run(&read_only(file)).failed(&[
        &format!("new digests were written to {module}, and to no other file: "),
        file,
        "Read-only file system",
    ]);
    case.expect([&debian, &other, OLD]);
    let errors = |places: &str| {
        let pin = ["pin", "--pins", "pins.json", "--json", "debian", "third"];
        let ran = case.user.run_by(mounts.within(places), &pin);
        let found: Value = serde_json::from_str(&ran.stdout).expect("is JSON");
        let found = found.as_array().expect("a list").iter();
        let errors = found.map(|found| found["error"].as_str().map(str::to_owned));
        errors.collect::<Vec<_>>()
    };
    let third = OLD.replace('0', "2");
    for (place, is_written) in [(directory, false), (file, true)] {
        case.write([OLD, &other, &third]);
        let errors = errors(&read_only(place));
        let [first, second] = &errors[..] else {
            panic!("{errors:?}");
        };
        assert_eq!(first.is_none(), is_written, "{errors:?}");
        let second = second.as_ref().expect("it was not written");
        assert!(second.contains("Read-only file system"), "{second}");
    }
}
