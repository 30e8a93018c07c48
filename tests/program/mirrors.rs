//! Pulls whose bytes come from mirrors.

use std::fs;

use oci_pull_all_support::{Answer, Content, End, Faulty, Ran, Seen, User, blobs, digest, noise};
use serde_json::{Value, json};

use crate::new_user;

const MEGABYTE: usize = 1 << 20;

/// An origin at which nobody listens.
const NOWHERE: &str = "127.0.0.1:1";

fn image() -> Content {
    Content::image(&[noise(1, 3 * MEGABYTE), noise(2, 2000)])
}

fn below_hub(mirror: &Faulty) -> String {
    format!("{}/hub", mirror.host())
}

/// Pulls the image named after `host`, which must be complete then.
fn completes(user: &User, host: &str, mirrors: &[&str]) -> Ran {
    completes_with(user, host, mirrors, &[])
}

fn completes_with(user: &User, host: &str, mirrors: &[&str], variables: &[(&str, &str)]) -> Ran {
    let ran = pull(user, host, mirrors, variables).succeeded();
    let names = blobs(&user.path("out"));
    assert_eq!(names.len(), 4, "a manifest, a config and two layers");
    user.run(&["verify", "out"]).succeeded();
    ran
}

fn pull(user: &User, host: &str, mirrors: &[&str], variables: &[(&str, &str)]) -> Ran {
    let reference = format!("{host}/app@{}", image().digest);
    let mut arguments = vec!["pull", &reference, "--output", "out"];
    arguments.extend(mirrors.iter().flat_map(|mirror| ["--mirror", mirror]));
    user.run_with(variables, &arguments)
}

/// How often a mirror was told to have failed.
fn told(ran: &Ran) -> usize {
    ran.stderr.matches("the mirror ").count()
}

#[test]
fn what_a_mirror_has_is_not_asked_of_the_origin() {
    let (mirror, origin) = (Faulty::good(image()), Faulty::good(image()));
    let ran = completes(&new_user(), &origin.host(), &[&below_hub(&mirror)]);
    assert_eq!(told(&ran), 0, "{}", ran.stderr);
    assert_eq!(origin.seen().len(), 0, "the origin was asked");
    let below = |seen: &Seen| seen.path == "/v2/" || seen.path.starts_with("/v2/hub/app/");
    assert!(mirror.seen().iter().all(below), "{:?}", mirror.seen());
}

/// A mirror that spoils every answer about the image; the origin gives what it does not.
fn passed_over(spoil: impl Fn(&Seen, Answer) -> Answer + Send + Sync + 'static) -> Faulty {
    let mirror = Faulty::start(image(), spoil);
    let origin = Faulty::good(image());
    let ran = completes(&new_user(), &origin.host(), &[&below_hub(&mirror)]);
    assert_eq!(told(&ran), 1, "{}", ran.stderr);
    assert!(
        ran.stderr.contains(&below_hub(&mirror)),
        "it is named: {}",
        ran.stderr
    );
    mirror
}

#[test]
fn a_mirror_that_cannot_be_used_is_passed_over() {
    let origin = Faulty::good(image());
    let ran = completes(&new_user(), &origin.host(), &[NOWHERE]);
    assert_eq!(told(&ran), 1, "{}", ran.stderr);
    for status in [401, 403, 404, 429, 503] {
        let mirror = passed_over(move |_, _| Answer::new(status, "{}"));
        // One that does not have it may have the next; one that refuses is asked no more.
        let asked = mirror
            .seen()
            .iter()
            .filter(|seen| seen.path != "/v2/")
            .count();
        assert_eq!(asked, if status == 404 { 4 } else { 1 }, "{status}");
    }
    passed_over(|_, _| Answer::none(End::Reset));
    passed_over(|seen, answer| match seen.path.as_str() {
        "/v2/" => answer,
        _ => Answer::new(307, "").header("Location", seen.path.clone()),
    });
}

#[test]
fn what_a_mirror_forges_is_not_taken() {
    passed_over(|_, mut answer| {
        answer.body.fill(b'x');
        answer
    });
    let layer = digest(&noise(1, 3 * MEGABYTE));
    let mirror = passed_over(move |seen, mut answer| {
        if seen.path.ends_with(&layer) {
            answer.body[0] ^= 1;
        }
        answer
    });
    assert_eq!(mirror.count(&digest(&noise(1, 3 * MEGABYTE))), 1);
    passed_over(|seen, answer| {
        if seen.path.contains("/blobs/") {
            answer.header("Content-Length", "5")
        } else {
            answer
        }
    });
}

#[test]
fn what_a_mirror_breaks_off_goes_on_at_the_origin() {
    let layer = digest(&noise(1, 3 * MEGABYTE));
    let ends_in = layer.clone();
    let mirror = Faulty::start(image(), move |seen, answer| {
        match seen.path.ends_with(&ends_in) {
            true if seen.earlier == 0 => answer.cut(2 * MEGABYTE, End::Close),
            true => answer.cut(1000, End::Reset),
            false => answer,
        }
    });
    let origin = Faulty::good(image());
    let ran = completes(&new_user(), &origin.host(), &[&below_hub(&mirror)]);
    assert_eq!(told(&ran), 1, "{}", ran.stderr);
    let sent = usize::try_from(origin.sent()).expect("small");
    assert!(sent < 3 * MEGABYTE / 2, "{sent} bytes came twice");
}

#[test]
fn mirrors_are_asked_in_their_order() {
    let partial = Faulty::start(image(), |seen, answer| {
        if seen.path.contains("/blobs/") {
            Answer::new(404, "{}")
        } else {
            answer
        }
    });
    let (full, origin) = (Faulty::good(image()), Faulty::good(image()));
    let mirrors = [NOWHERE, &below_hub(&partial), &full.host()];
    let ran = completes(&new_user(), &origin.host(), &mirrors);
    assert_eq!(told(&ran), 2, "{}", ran.stderr);
    assert_eq!(origin.seen().len(), 0);
    assert_eq!(full.count(&image().digest), 0);
    assert!(
        full.seen()
            .iter()
            .any(|seen| seen.path.starts_with("/v2/app/blobs/"))
    );
}

#[test]
fn where_only_a_mirror_is_reached_it_is_asked_again() {
    let first = |spoil: fn(Answer) -> Answer| {
        Faulty::start(image(), move |seen, answer| {
            if seen.path != "/v2/" && seen.earlier == 0 {
                spoil(answer)
            } else {
                answer
            }
        })
    };
    for mirror in [
        first(|_| Answer::new(503, "")),
        first(|_| Answer::none(End::Reset)),
        first(|answer| answer.cut(100, End::Reset)),
    ] {
        completes(&new_user(), NOWHERE, &[&below_hub(&mirror)]);
    }
    let layer = digest(&noise(1, 3 * MEGABYTE));
    let mirror = Faulty::start(image(), move |seen, mut answer| {
        if seen.path.ends_with(&layer) && seen.earlier == 0 {
            answer.body[0] ^= 1;
        }
        answer
    });
    completes(&new_user(), NOWHERE, &[&below_hub(&mirror)]);
}

#[test]
fn where_nobody_serves_the_origin_is_what_the_error_is_about() {
    let mirror = Faulty::start(image(), |_, _| Answer::new(404, "{}"));
    let origin = Faulty::start(image(), |_, _| Answer::new(403, "{}"));
    let user = new_user();
    let ran = pull(&user, &origin.host(), &[&below_hub(&mirror)], &[]);
    assert_eq!(ran.stderr.matches("error: ").count(), 1, "{}", ran.stderr);
    ran.failed(&[&origin.host(), "403", "docker login"]);
    assert!(!user.path("out/index.json").exists());
    // Also where the mirror is waited for.
    let ran = pull(&user, &origin.host(), &[NOWHERE], &[]);
    ran.failed(&[&origin.host(), "403", "docker login"]);
    // And who asks for a longer time than there is, is not asked before that.
    let busy = Faulty::start(image(), |_, _| {
        Answer::new(503, "").header("Retry-After", "9999")
    });
    let ran = pull(&user, &origin.host(), &[&below_hub(&busy)], &[]);
    ran.failed(&[&origin.host(), "403", "docker login"]);
    assert_eq!(busy.count(&image().digest), 1);
    // Nor do wrong bytes of a mirror take the place of what the registry says.
    let spoil = |seen: &Seen, mut answer: Answer| {
        answer.body[0] ^= u8::from(seen.path.contains("/blobs/"));
        answer
    };
    let wrong = Faulty::start(image(), spoil);
    let origin = Faulty::start(image(), |seen, answer| {
        if seen.path.contains("/blobs/") {
            Answer::new(403, "{}")
        } else {
            answer
        }
    });
    let ran = pull(&user, &origin.host(), &[&below_hub(&wrong)], &[]);
    ran.failed(&[
        &format!("what {} sent has the digest", wrong.host()),
        &format!("{} refused access (403", origin.host()),
    ]);
}

#[test]
fn a_site_has_mirrors_for_all_of_its_pulls() {
    let (sites, projects) = (Faulty::good(image()), Faulty::good(image()));
    let variable = |value: &str| [("OCI_PULL_ALL_MIRRORS", value.to_owned())];
    let entries = format!("quay.io=127.0.0.1:2,{NOWHERE}={}", below_hub(&sites));
    let entries = variable(&entries);
    let entries: Vec<_> = entries.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let ran = completes_with(&new_user(), NOWHERE, &[&projects.host()], &entries);
    assert_eq!(told(&ran), 0, "{}", ran.stderr);
    assert_eq!(projects.seen().len(), 0, "the site's mirrors come first");

    completes_with(
        &new_user(),
        &projects.host(),
        &[],
        &[("OCI_PULL_ALL_MIRRORS", "")],
    );
    for (bad, why) in [
        ("mirror.test", "REGISTRY=MIRROR"),
        ("quay.io=up/PER", "up/PER"),
    ] {
        let bad = [("OCI_PULL_ALL_MIRRORS", bad)];
        pull(&new_user(), NOWHERE, &[], &bad).failed(&["OCI_PULL_ALL_MIRRORS", why]);
    }
    pull(&new_user(), NOWHERE, &["ftp://mirror.test"], &[]).failed(&["ftp://mirror.test"]);
}

/// By a site and by a project, or in another form.
#[test]
fn a_mirror_that_is_named_twice_is_asked_once() {
    let mirror = Faulty::start(image(), |_, _| Answer::new(404, "{}"));
    let origin = Faulty::good(image());
    let below = below_hub(&mirror);
    let entries = format!("{}={below}", origin.host());
    let other = format!("https://{}/v2/hub/", mirror.host());
    let site = [("OCI_PULL_ALL_MIRRORS", &*entries)];
    completes_with(&new_user(), &origin.host(), &[&below, &other], &site);
    assert_eq!(mirror.count(&image().digest), 1);
}

#[test]
fn plain_http_is_spoken_to_a_mirror_that_is_named_so() {
    let origin = Faulty::good(image());
    // Not this machine's loopback by its name, so TLS is the rule.
    let mirror = "mirror.invalid:1";
    let ran = completes(&new_user(), &origin.host(), &[mirror]);
    assert_eq!(told(&ran), 1, "{}", ran.stderr);
    let plain = Faulty::good(image());
    let proxy = format!("http://{}", plain.host());
    let through = [("HTTP_PROXY", proxy.as_str()), ("NO_PROXY", "127.0.0.1")];
    let user = new_user();
    let ran = completes_with(&user, NOWHERE, &["http://mirror.invalid/hub"], &through);
    assert_eq!(told(&ran), 0, "{}", ran.stderr);
    assert!(
        plain
            .seen()
            .iter()
            .all(|seen| seen.path.starts_with("http://mirror.invalid/v2/hub/app/"))
    );
}

#[test]
fn a_credential_goes_to_its_own_host() {
    let guarded = || Faulty::guarded(image());
    let shown = |registry: &Faulty| {
        let mut shown: Vec<_> = registry
            .seen()
            .iter()
            .filter_map(|seen| seen.headers.get("authorization").cloned())
            .collect();
        shown.dedup();
        shown
    };
    let (of_mirror, of_origin) = ("bWlycm9yOnNlY3JldA==", "b3JpZ2luOnNlY3JldA==");
    let log_in = |auths: Value| {
        let user = new_user();
        fs::create_dir_all(user.path(".docker")).expect("can be made");
        let config = json!({ "auths": auths });
        fs::write(user.path(".docker/config.json"), config.to_string()).expect("can be written");
        user
    };

    let (mirror, origin) = (guarded(), guarded());
    let user = log_in(json!({origin.host(): {"auth": of_origin}}));
    let ran = completes(&user, &origin.host(), &[&below_hub(&mirror)]);
    assert_eq!(told(&ran), 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("docker login"), "{}", ran.stderr);
    assert_eq!(shown(&mirror), Vec::<String>::new());
    assert_eq!(shown(&origin), [format!("Basic {of_origin}")]);

    let (mirror, origin) = (guarded(), guarded());
    let user = log_in(json!({
        mirror.host(): {"auth": of_mirror},
        origin.host(): {"auth": of_origin},
    }));
    completes(&user, &origin.host(), &[&below_hub(&mirror)]);
    assert_eq!(shown(&mirror), [format!("Basic {of_mirror}")]);
    assert_eq!(origin.seen().len(), 0);
}
