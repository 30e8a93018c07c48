//! Signatures, SBOMs and attestations that are pulled with an image.

use oci_pull_all_support::layout::index_json;
use oci_pull_all_support::referrers::{Repository, SBOM, SIGNATURE, bare, list_of, pull};
use oci_pull_all_support::{
    Answer, Content, Faulty, INDEX, Identity, MANIFEST, Seen, blobs, digest, text,
};
use serde_json::json;

use crate::new_user;

#[test]
fn a_list_comes_in_pages_and_its_order_does_not_matter() {
    let mut repository = Repository::new();
    let image = repository.image.clone();
    for n in 0..5_u8 {
        repository.attach(&image, SIGNATURE, &[n]);
    }
    let straight = repository.clone().serve(|_, answer| answer);
    let paged = |next: fn(&str, &str) -> String| {
        let lists = repository.clone();
        repository.clone().serve(move |seen, answer| {
            let Some(list) = lists.listed(seen).filter(|list| !list.is_empty()) else {
                return answer;
            };
            let (path, page) = seen.path.split_once("?page=").unwrap_or((&seen.path, "0"));
            let page: usize = page.parse().expect("a page");
            let answer = list_of(&[list[list.len() - 1 - page].clone()]);
            if page + 1 == list.len() {
                return answer;
            }
            let next = next(&seen.headers["host"], path);
            answer.header("Link", format!("<{next}?page={}>; rel=\"next\"", page + 1))
        })
    };
    let content = |registry: &Faulty| {
        let user = new_user();
        let reference = repository.reference(&registry.host());
        pull(&user, &reference, "out", &[]).succeeded();
        let told = user.run(&["verify", "out"]).succeeded().stderr;
        assert!(!told.contains("no image"), "{told}");
        (index_json(&user.path("out")), blobs(&user.path("out")))
    };
    let whole = content(&straight);
    assert_eq!(whole.1.len(), 4 + 5 * 2 + 1 + 1);
    let forms: [fn(&str, &str) -> String; 5] = [
        |_, path| path.to_owned(),
        |_, _| String::new(),
        |_, path| format!("./{}", path.rsplit('/').next().unwrap_or_default()),
        |host, path| format!("http://{host}{path}"),
        |host, path| format!("//{host}{path}"),
    ];
    for next in forms {
        assert_eq!(content(&paged(next)), whole);
    }
}

/// As those answer that know no such API, each in its way.
#[test]
fn who_has_no_such_api_is_asked_for_the_tag() {
    let (repository, _) = Repository::signed();
    let reference = |host: &str| repository.reference(host);
    let content = |registry: &Faulty| {
        let user = new_user();
        pull(&user, &reference(&registry.host()), "out", &[]).succeeded();
        (index_json(&user.path("out")), blobs(&user.path("out")))
    };
    let whole = content(&repository.clone().serve(|_, answer| answer));
    for status in [400, 404, 405, 406, 501] {
        let lists = repository.lists.clone();
        let registry = Faulty::start(repository.content.clone(), move |seen, answer| {
            if seen.path.contains("/referrers/") {
                return Answer::new(status, "{}");
            }
            let tag = seen.path.split_once("/manifests/sha256-");
            let list = tag.and_then(|(_, hex)| lists.get(&format!("sha256:{hex}")));
            list.map_or(answer, |list| list_of(list))
        });
        assert_eq!(content(&registry), whole, "{status}");
    }
    // Who is led to says nothing of the registry.
    let other = Faulty::start(Content::default(), |_, _| Answer::new(400, "{}"));
    let target = format!("http://{}/list", other.host());
    fails(repository, &["referrers of", "400"], move |_, _| {
        Answer::new(307, "").header("Location", target.clone())
    });
}

/// Pulls what the registry lists so, which must fail for these reasons and leave no layout.
fn fails(
    repository: Repository,
    expected: &[&str],
    spoil: impl Fn(&Seen, Answer) -> Answer + Send + Sync + 'static,
) {
    let user = new_user();
    let (root, index) = (repository.reference(""), repository.index.clone());
    let registry = repository.serve(spoil);
    let reference = format!("{}{root}", registry.host());
    let ran = pull(&user, &reference, "out", &[]);
    assert_eq!(ran.stderr.matches("error: ").count(), 1, "{}", ran.stderr);
    ran.failed(&[&[text(&index["digest"])], expected].concat());
    assert!(!user.path("out/index.json").exists());
    user.run(&["store", "verify"]).succeeded();
}

#[test]
fn lists_that_lie() {
    let unspoilt = |_: &Seen, answer: Answer| answer;
    let (mut repository, [signature, ..]) = Repository::signed();
    let image = repository.image.clone();
    repository.list(&image, signature.clone());
    let said = [text(&signature["digest"]), text(&image["digest"]), "refers"];
    fails(repository, &said, unspoilt);

    let (mut repository, _) = Repository::signed();
    repository.list(&image, bare(&image));
    fails(repository, &[text(&image["digest"]), "refers"], unspoilt);

    let (mut repository, [mut signature, ..]) = Repository::signed();
    signature["size"] = json!(5);
    repository.lists.clear();
    repository.list(&image, signature);
    fails(repository, &["has 5 and"], unspoilt);

    let (mut repository, _) = Repository::signed();
    let digest = digest(b"not there");
    let missing = json!({"mediaType": MANIFEST, "digest": digest, "size": 5});
    repository.list(&image, missing);
    fails(repository, &[&digest, "not found in"], unspoilt);

    let (repository, _) = Repository::signed();
    fails(repository, &["referrers of", "index"], |_, _| {
        Answer::new(200, "[]").header("Content-Type", INDEX)
    });
    // Who sent it is named, and not who led there.
    let other = Faulty::start(Content::default(), |_, _| {
        Answer::new(200, "[]").header("Content-Type", INDEX)
    });
    let named = format!("what {} sent is not an image index", other.host());
    let target = format!("http://{}/list", other.host());
    let (repository, _) = Repository::signed();
    fails(repository, &[&named], move |_, _| {
        Answer::new(307, "").header("Location", target.clone())
    });
    let (repository, _) = Repository::signed();
    fails(repository, &["referrers of", "403"], |_, _| {
        Answer::new(403, "{}")
    });
    let (repository, _) = Repository::signed();
    fails(repository, &["next page", "evil.test"], |_, answer| {
        answer.header("Link", "<http://evil.test/>; rel=\"next\"")
    });
    let (repository, _) = Repository::signed();
    fails(
        repository,
        &["next page", "https://127.0.0.1"],
        |seen, answer| {
            let secure = format!("https://{}{}?page=1", seen.headers["host"], seen.path);
            answer.header("Link", format!("<{secure}>; rel=\"next\""))
        },
    );
    // To themselves, and to one that came before the last one.
    for next in [["", ""], ["?page=1", "?page=2"]] {
        let (repository, _) = Repository::signed();
        fails(
            repository,
            &["the next page", "which came before"],
            move |seen, answer| {
                let is_list = seen.path.contains("/referrers/");
                assert!(!is_list || seen.earlier == 0, "{}", seen.path);
                let path = seen.path.split('?').next().unwrap_or_default();
                let next = next[usize::from(seen.path.ends_with("?page=1"))];
                answer.header("Link", format!("<{path}{next}>; rel=\"next\""))
            },
        );
    }
    let (repository, _) = Repository::signed();
    fails(
        repository,
        &["more than 100 pages, or 10000 entries"],
        |seen, answer| answer.header("Link", format!("<{}x>; rel=\"next\"", seen.path)),
    );
}

/// What takes TLS away before a registry does not always tell it.
#[test]
fn a_next_page_in_clear_is_told_with_what_to_do() {
    let (repository, _) = Repository::signed();
    let (content, identity) = (repository.content.clone(), Identity::new());
    let root = repository.reference("");
    let registry = Faulty::start_tls(&identity, content, move |seen, answer| {
        let Some(list) = repository.listed(seen) else {
            return answer;
        };
        let next = format!("http://{}{}?page=1", seen.headers["host"], seen.path);
        list_of(list).header("Link", format!("<{next}>; rel=\"next\""))
    });
    let reference = format!("{}{root}", registry.host());
    let certificate = identity.certificate().display().to_string();
    let environment = [("SSL_CERT_FILE", &*certificate)];
    let pull = ["pull", &reference, "--output", "out", "--referrers"];
    new_user()
        .run_with(&environment, &pull)
        .failed(&["?…\", which is no https URL", "X-Forwarded-Proto"]);
}

#[test]
fn what_has_no_end_is_refused() {
    let unspoilt = |_: &Seen, answer: Answer| answer;
    let mut repository = Repository::new();
    let mut subject = repository.image.clone();
    for n in 0..5_u8 {
        subject = repository.attach(&subject, SIGNATURE, &[n]);
    }
    fails(repository, &["more than 4 times"], unspoilt);

    let mut repository = Repository::new();
    let image = repository.image.clone();
    for n in 0..1001_u16 {
        let digest = digest(&n.to_be_bytes());
        let entry = json!({"mediaType": MANIFEST, "digest": digest, "size": 100});
        repository.list(&image, entry);
    }
    fails(repository, &["more than 1000"], unspoilt);

    let mut repository = Repository::new();
    let digest = digest(b"huge");
    let huge = json!({"mediaType": SBOM, "digest": digest, "size": (1_u64 << 30) + 1});
    repository.attach_layers(&image, SBOM, &[huge]);
    fails(repository, &["1 GiB"], unspoilt);
}
