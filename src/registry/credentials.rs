//! Credentials as Docker, podman and their users keep them (docker's `config.json`,
//! containers-auth.json(5), the credential helper protocol).

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs;
use std::io;
use std::iter;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::files::{FileError, io_failed, is_same_file, read_at_most};
use crate::oci::reference::{Registry, Repository, Scheme};
use crate::text::shown;

/// The name under which Docker files its Hub's credentials.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

const READ: &str = "read the credentials file";
/// Whoever wants no credentials names this file.
const NOTHING: &str = "/dev/null";
/// The most bytes that a file of credentials may have.
const MAX_FILE: u64 = 4 << 20;

/// How long a credential helper may take; some ask a cloud's login service.
const HELPER_TIMEOUT: Duration = Duration::from_secs(60);

/// How long what it wrote to stderr is waited for after it has ended.
const HELPER_LAST_WORDS: Duration = Duration::from_secs(1);

const HELPER_OUTPUT_LIMIT: u64 = 256 * 1024;
const HELPER_COMPLAINT_LIMIT: u64 = 16 * 1024;

/// What proves to a registry who is asking.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A user and a password.
    Password {
        /// The user's name.
        user: String,
        /// The password.
        password: String,
    },
    /// An `OAuth2` refresh token, to be exchanged for access tokens.
    IdentityToken {
        /// The token.
        token: String,
        /// The user and the password that are filed with it, for who asks for those.
        login: Option<(String, String)>,
    },
    /// A ready access token.
    RegistryToken(String),
}

/// Never shows the secret.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credential::Password { .. } => "Password(…)",
            Credential::IdentityToken { .. } => "IdentityToken(…)",
            Credential::RegistryToken(_) => "RegistryToken(…)",
        })
    }
}

/// Why the credentials of a registry are not to be had.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// A file that was named cannot be read.
    #[error(transparent)]
    Read(#[from] FileError),
    /// A file is not what Docker or podman writes.
    ///
    /// The parser's own words would show values, which may be secrets.
    #[error("the credentials file {path} is not valid: see line {line}, column {column}", path = .path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The line of what is wrong.
        line: usize,
        /// The column in it.
        column: usize,
    },
    /// A part of a file is not what Docker or podman writes.
    #[error("the credentials file {path} is not valid: \"auths\" and \"credHelpers\" must be objects, and \"credsStore\" a name", path = .0.display())]
    Shape(PathBuf),
    /// An entry is none, or its `auth` is not base64 of USER:PASSWORD.
    #[error("the credentials file {path} has a malformed entry for {key}: log in again", path = .path.display())]
    Auth {
        /// The file.
        path: PathBuf,
        /// The entry in `auths`.
        key: String,
    },
    /// The user or the password of an entry is no text as it is sent (RFC 7617, 2.1).
    #[error("the credentials file {path} has a user or a password for {key} that is no UTF-8, as all that is sent must be: log in again with one that is", path = .path.display())]
    Encoding {
        /// The file.
        path: PathBuf,
        /// The entry in `auths`.
        key: String,
    },
    /// A helper's name has characters that no helper's name has.
    #[error("the credentials file {path} names the credential helper {name:?}: only A-Z, a-z, 0-9, _, . and - may be in its name", path = .path.display())]
    HelperName {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// A helper cannot be run.
    #[error("the credentials file {path} names the credential helper docker-credential-{name}, which cannot be run; put it on PATH, or take it out of the file and log in again", path = .path.display())]
    HelperSpawn {
        /// The file.
        path: PathBuf,
        /// The helper.
        name: String,
        /// Why it cannot be run.
        source: io::Error,
    },
    /// A helper ran and failed.
    #[error("the credential helper docker-credential-{name} failed for {address}: {message}")]
    HelperFailed {
        /// The helper.
        name: String,
        /// What it was asked for.
        address: String,
        /// What it said.
        message: String,
    },
}

/// Finds credentials in files as Docker and podman write them. Without a file, all is asked anonymously.
#[derive(Clone, Debug, Default)]
pub struct Keychain {
    files: Vec<PathBuf>,
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    if is_same_file(path, Path::new(NOTHING)).unwrap_or(false) {
        return Ok(Vec::new());
    }
    read_at_most(path, MAX_FILE)
}

impl Keychain {
    /// A keychain with the one file `path`, which must exist.
    pub fn of_file(path: &Path) -> Result<Self, CredentialError> {
        io_failed(READ, path, fs::metadata(path))?;
        Ok(Keychain {
            files: vec![path.to_owned()],
        })
    }

    /// A keychain with these files, in the order in which they are asked; one that is not there has none.
    pub fn of_files(files: impl IntoIterator<Item = PathBuf>) -> Self {
        Keychain {
            files: files.into_iter().collect(),
        }
    }

    /// The credential for a repository of a registry that is spoken to so: the first file's that has one; `None` to ask
    /// anonymously.
    pub async fn find(
        &self,
        repository: &Repository,
        scheme: Scheme,
    ) -> Result<Option<Credential>, CredentialError> {
        let mut asked = HashSet::new();
        for path in &self.files {
            let text = match read_file(path) {
                Ok(text) => text,
                // Where a file is the directory, as with DOCKER_CONFIG=/dev/null, there is none in it.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                    ) =>
                {
                    continue;
                }
                failed => io_failed(READ, path, failed)?,
            };
            let credential = match AuthFile::parse(path, &text)?.find(repository, scheme)? {
                Some(Found::Credential(credential)) => Some(credential),
                Some(Found::Helper { name, address }) => {
                    let other = repository.registry().other_name(scheme);
                    let mut held = None;
                    for address in iter::once(address).chain(other) {
                        if held.is_none() && asked.insert((name.clone(), address.clone())) {
                            held = run_helper(path, &name, &address).await?;
                        }
                    }
                    held
                }
                None => None,
            };
            if credential.is_some() {
                return Ok(credential);
            }
        }
        Ok(None)
    }

    /// Whether a file has a login for a repository of a registry that is spoken to with TLS. No helper is asked.
    pub(super) fn has_for_tls(&self, repository: &Repository) -> bool {
        let has = |path: &PathBuf| {
            let file = AuthFile::parse(path, &read_file(path).ok()?).ok()?;
            file.find(repository, Scheme::Https).ok()?
        };
        let mut found = self.files.iter().filter_map(has);
        found.any(|found| matches!(found, Found::Credential(_)))
    }
}

/// What Docker or podman wrote into one file.
#[derive(Clone)]
pub struct AuthFile {
    path: PathBuf,
    config: Config,
}

/// What a file has for a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The credential itself.
    Credential(Credential),
    /// The program `docker-credential-NAME`, to be asked for the credential of an address.
    Helper {
        /// The helper's name, which is safe as a part of a program's name.
        name: String,
        /// The address under which helpers know the registry.
        address: String,
    },
}

/// What there is of use in a file. An entry is read when it is wanted: a broken one of another registry harms
/// nothing.
#[derive(Clone, Default)]
struct Config {
    auths: Entries,
    creds_store: String,
    cred_helpers: Entries,
}

type Entries = BTreeMap<String, Box<RawValue>>;

/// The members of an object in their order, each as it is written: of what nobody reads, only the form has to be right.
///
/// They are read as Docker's JSON library does it (Go, `encoding/json`): case does not matter, of several with one name the
/// last counts, maps are put together, and `null` is no text.
struct Members(Vec<(String, Box<RawValue>)>);

impl Members {
    /// The first value of a text, behind which Docker reads nothing.
    #[expect(clippy::disallowed_methods, reason = "it is no document of an image")]
    fn first_of(text: &str) -> serde_json::Result<Option<Self>> {
        Option::deserialize(&mut serde_json::Deserializer::from_str(text))
    }

    fn named(&self, name: &str) -> impl Iterator<Item = &RawValue> {
        let is_named = move |(key, _): &&(String, _)| key.eq_ignore_ascii_case(name);
        self.0.iter().filter(is_named).map(|(_, value)| &**value)
    }

    /// A text, which is empty where there is none; nothing where it is something else.
    fn text(&self, name: &str) -> Option<String> {
        let mut text = String::new();
        for value in self.named(name) {
            text = read::<Option<Text>>(value)?.map_or(text, |text| text.0);
        }
        Some(text)
    }

    /// The entries of maps.
    fn entries(&self, name: &str) -> Option<Entries> {
        let mut entries = Entries::new();
        for value in self.named(name) {
            match read::<Option<Members>>(value)? {
                Some(members) => entries.extend(members.0),
                None => entries.clear(),
            }
        }
        Some(entries)
    }
}

#[expect(clippy::disallowed_methods, reason = "it is no document of an image")]
fn read<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Option<T> {
    serde_json::from_str(value.get()).ok()
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;

        impl<'de> Visitor<'de> for All {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some((Text(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(All)
    }
}

/// A text in which half of a pair of surrogates, which is no character, stands as one that is unknown.
#[derive(Default)]
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Text, E> {
                Ok(Text(String::from_utf8_lossy(bytes).into_owned()))
            }
        }

        deserializer.deserialize_bytes(Bytes)
    }
}

impl Config {
    fn of(file: &Members) -> Option<Self> {
        Some(Config {
            auths: file.entries("auths")?,
            creds_store: file.text("credsStore")?,
            cred_helpers: file.entries("credHelpers")?,
        })
    }
}

/// Shows no entry: they hold secrets.
impl fmt::Debug for AuthFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AuthFile").field(&self.path).finish()
    }
}

impl AuthFile {
    /// Parses `bytes`, the content of the file `path`, which errors name.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, CredentialError> {
        let text = String::from_utf8_lossy(bytes);
        let file = if text.trim_ascii().is_empty() {
            None
        } else {
            Members::first_of(&text).map_err(|error| CredentialError::Json {
                path: path.to_owned(),
                line: error.line(),
                column: error.column(),
            })?
        };
        let config = match &file {
            None => Some(Config::default()),
            Some(file) => Config::of(file),
        };
        let config = config.ok_or_else(|| CredentialError::Shape(path.to_owned()))?;
        Ok(AuthFile {
            path: path.to_owned(),
            config,
        })
    }

    /// What the file has for a repository of a registry that is spoken to so, under the most specific key; runs no helper.
    pub fn find(
        &self,
        repository: &Repository,
        scheme: Scheme,
    ) -> Result<Option<Found>, CredentialError> {
        let keys = keys(repository);
        let named = keys.iter().enumerate().find_map(|(at, key)| {
            let (name, helper) = filed(&self.config.cred_helpers, key, scheme).next()?;
            Some((at, name, helper))
        });
        let (more_specific, helper) = match named {
            Some((at, name, helper)) => {
                let helper: Option<Text> = read(helper).ok_or_else(|| self.malformed(name))?;
                (at, helper.unwrap_or_default().0)
            }
            None => (0, self.config.creds_store.clone()),
        };
        // What a helper keeps is not in the file: an entry of before the helper was set stays there.
        let own = if helper.is_empty() {
            &keys[..]
        } else {
            &keys[..more_specific]
        };
        for (name, entry) in own
            .iter()
            .flat_map(|key| filed(&self.config.auths, key, scheme))
        {
            let credential = credential(entry).map_err(|malformed| match malformed {
                Malformed::Entry => self.malformed(name),
                Malformed::Encoding => CredentialError::Encoding {
                    path: self.path.clone(),
                    key: name.to_owned(),
                },
            })?;
            if let Some(credential) = credential {
                return Ok(Some(Found::Credential(credential)));
            }
        }
        if helper.is_empty() {
            return Ok(None);
        }
        self.helper(&helper, repository.registry()).map(Some)
    }

    fn malformed(&self, key: &str) -> CredentialError {
        CredentialError::Auth {
            path: self.path.clone(),
            key: key.to_owned(),
        }
    }

    fn helper(&self, name: &str, registry: &Registry) -> Result<Found, CredentialError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if name.is_empty() || !name.bytes().all(allowed) {
            return Err(CredentialError::HelperName {
                path: self.path.clone(),
                name: name.to_owned(),
            });
        }
        let address = match registry.as_str() {
            "docker.io" => DOCKER_HUB,
            registry => registry,
        };
        Ok(Found::Helper {
            name: name.to_owned(),
            address: address.to_owned(),
        })
    }
}

/// What is wrong with an entry of `auths`.
enum Malformed {
    Entry,
    /// Its login is no UTF-8.
    Encoding,
}

/// The credential of an entry of `auths`, if it has one.
fn credential(entry: &RawValue) -> Result<Option<Credential>, Malformed> {
    let Some(entry) = read::<Option<Members>>(entry).ok_or(Malformed::Entry)? else {
        return Ok(None);
    };
    let text = |name| entry.text(name).ok_or(Malformed::Entry);
    let (identity, token) = (text("identitytoken")?, text("registrytoken")?);
    let (auth, user, password) = (text("auth")?, text("username")?, text("password")?);
    let is_login = |(user, password): &(String, String)| !user.is_empty() && !password.is_empty();
    Ok(if !identity.is_empty() {
        let login = decode_auth(&auth).unwrap_or((user, password));
        Some(Credential::IdentityToken {
            token: identity,
            login: Some(login).filter(is_login),
        })
    } else if !token.is_empty() {
        Some(Credential::RegistryToken(token))
    } else if !auth.is_empty() {
        let (user, password) = decode_auth(&auth)?;
        Some(Credential::Password { user, password })
    } else {
        let login = Some((user, password)).filter(is_login);
        login.map(|(user, password)| Credential::Password { user, password })
    })
}

/// The user and the password in an `auth`, which some write in lines.
fn decode_auth(auth: &str) -> Result<(String, String), Malformed> {
    let padding = base64::engine::DecodePaddingMode::Indifferent;
    let config = general_purpose::GeneralPurposeConfig::new().with_decode_padding_mode(padding);
    let engine = general_purpose::GeneralPurpose::new(&base64::alphabet::STANDARD, config);
    let auth: String = auth.split_whitespace().collect();
    let bytes = engine.decode(auth).map_err(|_| Malformed::Entry)?;
    let text = String::from_utf8(bytes).map_err(|_| Malformed::Encoding)?;
    // Docker's own writer has been seen to end the value with NUL bytes.
    let login = text.trim_end_matches('\0').split_once(':');
    let (user, password) = login.ok_or(Malformed::Entry)?;
    Ok((user.to_owned(), password.to_owned()))
}

/// The keys under which a repository's credential may be filed, the most specific first:
/// `host/team/app`, `host/team`, `host`.
fn keys(repository: &Repository) -> Vec<String> {
    let whole = repository.to_string();
    let mut keys: Vec<String> = whole
        .match_indices('/')
        .map(|(end, _)| whole[..end].to_owned())
        .collect();
    keys.push(whole);
    keys.reverse();
    keys
}

/// What is filed under a key, and then what is filed under older forms of it.
fn filed<'a>(
    entries: &'a Entries,
    key: &'a str,
    scheme: Scheme,
) -> impl Iterator<Item = (&'a str, &'a RawValue)> {
    let older = entries.iter().filter(move |(name, _)| {
        let name_is = normal(name, scheme);
        *name != key && name_is.is_some() && name_is == normal(key, scheme)
    });
    let all = entries.get_key_value(key).into_iter().chain(older);
    all.map(|(name, value)| (name.as_str(), &**value))
}

/// A key of `auths` without what Docker's older versions put around the host, and without a port that need not be said. One
/// that says TLS is none where it is not spoken.
fn normal(key: &str, spoken: Scheme) -> Option<String> {
    let (scheme, key) = match key.split_once("://") {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("http") => (Scheme::Http, key),
        Some((_, key)) => (Scheme::Https, key),
        None => (spoken, key),
    };
    if scheme == Scheme::Https && spoken == Scheme::Http {
        return None;
    }
    let key = key.trim_end_matches('/');
    let (host, path) = key.split_once('/').unwrap_or((key, ""));
    let registry = Registry::spoken_to(host, spoken);
    let host = registry
        .as_ref()
        .map_or(host, |registry| registry.without_port_of(scheme));
    Some(match path {
        "" | "v1" | "v2" => host.to_owned(),
        path => format!("{host}/{path}"),
    })
}

async fn run_helper(
    path: &Path,
    name: &str,
    address: &str,
) -> Result<Option<Credential>, CredentialError> {
    let failed = |message: &str| CredentialError::HelperFailed {
        name: name.to_owned(),
        address: address.to_owned(),
        message: message.to_owned(),
    };
    let mut child = tokio::process::Command::new(format!("docker-credential-{name}"))
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| CredentialError::HelperSpawn {
            path: path.to_owned(),
            name: name.to_owned(),
            source,
        })?;
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let stdout = child.stdout.take().expect("stdout is piped");
    let complaint = tokio::spawn(complaint(child.stderr.take().expect("stderr is piped")));
    let mut output = Vec::new();
    let conversation = async {
        // A helper that does not read its input closes the pipe; its answer counts all the same.
        let _ = stdin.write_all(address.as_bytes()).await;
        drop(stdin);
        stdout
            .take(HELPER_OUTPUT_LIMIT)
            .read_to_end(&mut output)
            .await?;
        child.wait().await
    };
    let status = match tokio::time::timeout(HELPER_TIMEOUT, conversation).await {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => return Err(failed(&error.to_string())),
        Err(_) => return Err(failed("it did not answer within 60 seconds")),
    };
    if !status.success() {
        // The protocol has no code for "nothing stored", only this sentence on stdout.
        if String::from_utf8_lossy(&output).contains("credentials not found") {
            return Ok(None);
        }
        // A process that it leaves behind may hold its stderr.
        let complaint = tokio::time::timeout(HELPER_LAST_WORDS, complaint).await;
        let complaint = complaint.ok().and_then(Result::ok).unwrap_or_default();
        let words: Vec<&str> = complaint.split_whitespace().collect();
        let why = match words.join(" ") {
            words if words.is_empty() => "it said nothing on stderr".to_owned(),
            words => shown(&words),
        };
        if output.trim_ascii().is_empty() {
            return Err(failed(&why));
        }
        // There it writes a secret, whole, cut off, or by mistake in another form.
        return Err(failed(&format!(
            "{why}; what it wrote to stdout may be a secret: run `echo {address} | docker-credential-{name} get` to see it"
        )));
    }
    let answer = Members::first_of(&String::from_utf8_lossy(&output))
        .ok()
        .flatten();
    let login = answer.and_then(|answer| Some((answer.text("Username")?, answer.text("Secret")?)));
    let (user, secret) =
        login.ok_or_else(|| failed("its answer is not the JSON of the helper protocol"))?;
    Ok(match user.as_str() {
        "" if secret.is_empty() => None,
        "<token>" => Some(Credential::IdentityToken {
            token: secret,
            login: None,
        }),
        _ => Some(Credential::Password {
            user,
            password: secret,
        }),
    })
}

/// What a helper writes to stderr, as far as anybody would read it.
async fn complaint(stderr: tokio::process::ChildStderr) -> String {
    let mut text = Vec::new();
    let mut limited = stderr.take(HELPER_COMPLAINT_LIMIT);
    let _ = limited.read_to_end(&mut text).await;
    // The helper must not wait for a reader.
    let mut rest = limited.into_inner();
    tokio::spawn(async move { tokio::io::copy(&mut rest, &mut tokio::io::sink()).await });
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::reference::Reference;

    async fn find(json: &str, image: &str) -> Result<Option<Credential>, CredentialError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        fs::write(&path, json).unwrap();
        let keychain = Keychain::of_file(&path).unwrap();
        let image: Reference = image.parse().unwrap();
        keychain.find(image.repository(), Scheme::Https).await
    }

    fn password(user: &str, password: &str) -> Credential {
        Credential::Password {
            user: user.to_owned(),
            password: password.to_owned(),
        }
    }

    #[tokio::test]
    async fn the_most_specific_key_wins() {
        let json = r#"{"auths":{
            "r.test":{"username":"host","password":"1"},
            "r.test/team":{"username":"team","password":"2"},
            "r.test/team/app":{"auth":"YXBwOjM6NA=="}}}"#;
        assert_eq!(
            find(json, "r.test/team/app:1").await.unwrap(),
            Some(password("app", "3:4"))
        );
        assert_eq!(
            find(json, "r.test/team/other").await.unwrap(),
            Some(password("team", "2"))
        );
        assert_eq!(
            find(json, "r.test/teams/app").await.unwrap(),
            Some(password("host", "1"))
        );
        assert_eq!(find(json, "r.test:5000/team/app").await.unwrap(), None);
    }

    /// A host is the same with the port that it has anyway, and an address however it is written.
    #[tokio::test]
    async fn a_host_is_found_under_all_that_name_it() {
        for (key, image, is_found) in [
            ("r.test", "r.test:443/a", true),
            ("r.test:443", "r.test/a", true),
            ("https://r.test:443/v2/", "R.test/a", true),
            ("http://r.test:80", "r.test/a", true),
            ("r.test:443/a", "r.test/a", true),
            ("r.test", "r.test:80/a", false),
            ("r.test:80", "r.test/a", false),
            ("http://r.test:80", "r.test:80/a", false),
            ("r.test", "r.test:5000/a", false),
            ("r.test.", "r.test/a", false),
            ("[::1]:5000", "[::1]:5000/a", true),
            ("[0:0:0:0:0:0:0:1]:5000", "[::1]:5000/a", true),
            ("https://[2001:DB8::1]", "[2001:db8:0::1]:443/a", true),
            ("[2001:db8::1]/a", "[2001:db8::1]/a", true),
            ("::1", "[::1]/a", false),
            ("[::1]:5001", "[::1]:5000/a", false),
            ("docker.io:443", "debian", true),
        ] {
            let json = format!(r#"{{"auths":{{"{key}":{{"username":"u","password":"p"}}}}}}"#);
            let found = find(&json, image).await.unwrap();
            assert_eq!(found.is_some(), is_found, "{key} {image}");
        }
        for (key, image, is_found) in [
            ("r.test", "r.test:80/a", true),
            ("http://r.test", "r.test:80/a", true),
            ("http://r.test:80/v1/", "r.test/a", true),
            ("https://r.test", "r.test:80/a", false),
            ("https://r.test:443/v2/", "r.test/a", false),
            ("r.test:80", "r.test/a", true),
            ("r.test:443", "r.test/a", false),
            ("r.test", "r.test:443/a", false),
            ("docker.io", "docker.io/a/b", true),
            // Docker Hub's API is at another host.
            ("docker.io", "docker.io:80/a", false),
            ("docker.io:80", "docker.io:80/a", true),
            // A port that says TLS.
            ("docker.io:443", "docker.io/a/b", false),
            ("index.docker.io:0443/v1/", "docker.io/a/b", false),
            ("registry-1.docker.io:443", "docker.io/a/b", false),
        ] {
            let json = format!(r#"{{"auths":{{"{key}":{{"username":"u","password":"p"}}}}}}"#);
            let file = AuthFile::parse(Path::new("/f"), json.as_bytes()).unwrap();
            let found = file.find(&image.parse().unwrap(), Scheme::Http);
            assert_eq!(found.unwrap().is_some(), is_found, "{key} {image}");
        }
        let json = r#"{"auths":{
            "r.test":{"username":"plain","password":"1"},
            "r.test:443":{"username":"port","password":"2"}}}"#;
        for (image, user) in [
            ("r.test/a", password("plain", "1")),
            ("r.test:443/a", password("port", "2")),
        ] {
            assert_eq!(find(json, image).await.unwrap(), Some(user), "{image}");
        }
    }

    /// Behind a host it is the path of the API, and elsewhere a name like others.
    #[tokio::test]
    async fn a_repository_may_be_called_as_the_api_is() {
        let json = r#"{"auths":{
            "r.test/team/v2":{"username":"v2","password":"1"},
            "HTTPS://R.test/v2/":{"username":"host","password":"2"}}}"#;
        for (image, user) in [
            ("r.test/team/v2", password("v2", "1")),
            ("r.test/team/v2/app", password("v2", "1")),
            ("r.test/team/app", password("host", "2")),
        ] {
            assert_eq!(find(json, image).await.unwrap(), Some(user), "{image}");
        }
    }

    /// Docker's older versions filed a registry under a URL, and did not remove what was there.
    #[tokio::test]
    async fn of_two_names_of_a_registry_the_plain_one_wins() {
        let json = r#"{"auths":{
            "http://r.test":{"username":"old","password":"1"},
            "r.test":{"username":"new","password":"2"},
            "https://r.test/v2/":{"username":"old","password":"3"},
            "https://s.test":{},
            "https://s.test/v1/":{"username":"v1","password":"4"}}}"#;
        for _ in 0..20 {
            let found = find(json, "r.test/a").await.unwrap();
            assert_eq!(found, Some(password("new", "2")));
            let found = find(json, "s.test/a").await.unwrap();
            assert_eq!(found, Some(password("v1", "4")));
        }
    }

    #[tokio::test]
    async fn docker_hub_has_an_old_name() {
        let json = r#"{"auths":{"https://index.docker.io/v1/":{"identitytoken":"t"}}}"#;
        let found = find(json, "debian").await.unwrap();
        let identity = |login: Option<(&str, &str)>| Credential::IdentityToken {
            token: "t".to_owned(),
            login: login.map(|(user, password)| (user.to_owned(), password.to_owned())),
        };
        assert_eq!(found, Some(identity(None)));
        for (auth, login) in [
            ("dTpodW50ZXIy", Some(("u", "hunter2"))),
            // What Azure's registries are given.
            ("MDAwMDA6", None),
        ] {
            let json =
                format!(r#"{{"auths":{{"r.test":{{"auth":"{auth}","identitytoken":"t"}}}}}}"#);
            let found = find(&json, "r.test/a").await.unwrap();
            assert_eq!(found, Some(identity(login)), "{auth}");
        }
    }

    #[tokio::test]
    async fn every_name_of_docker_hub_finds_the_login() {
        for key in [
            "docker.io",
            "index.docker.io",
            "registry-1.docker.io",
            "https://index.docker.io/v1/",
            "https://registry-1.docker.io/v2/",
            "https://Docker.io",
        ] {
            let json = format!(r#"{{"auths":{{"{key}":{{"username":"u","password":"p"}}}}}}"#);
            for image in ["debian", "index.docker.io/a/b", "registry-1.docker.io/a/b"] {
                let found = find(&json, image).await.unwrap();
                assert_eq!(found, Some(password("u", "p")), "{key} {image}");
            }
        }
    }

    /// What Docker's and podman's own readers take.
    #[tokio::test]
    async fn files_are_read_as_docker_reads_them() {
        for json in [
            "",
            "\n",
            "null",
            "{}",
            r#"{"auths":null,"credHelpers":null,"credsStore":null}"#,
            r#"{"auths":{"r.test":null}}"#,
            r#"{"auths":{"r.test":{"auth":null,"username":null}}}"#,
            r#"{"credHelpers":{"r.test":""},"credsStore":"none"}"#,
            r#"{"auths":{"r.test":{"auth":"dTpodW50ZXIy"}},"auths":null}"#,
            r#"{"auths":{"r.test":{"auth":"dTpodW50ZXIy"},"r.test":{}}}"#,
        ] {
            assert_eq!(find(json, "r.test/a").await.unwrap(), None, "{json}");
        }
        for json in [
            r#"{"auths":{"r.test":{"auth":"dTpo\ndW50\r\nZXIy"},"s.test":7,"t.test":{"auth":"?"}}}"#,
            r#"{"AUTHS":{"r.test":{"Auth":"dTpodW50ZXIy","password":null}},"credHelpers":{"s.test":7}}"#,
            r#"{"auths":{"R.test":{"auth":"dTpodW50ZXIy"}}}"#,
            r#"{"auths":{"r.test":{"auth":"dTpodW50ZXIy"}},"credHelpers":{"r.test":""}}"#,
            r#"{"auths":{"r.test":{"auth":"dTpodW50ZXIy"}},"credHelpers":{"r.test":null}}"#,
            // Maps are put together, and of texts the last one counts.
            r#"{"auths":{"r.test":{"auth":"dTpodW50ZXIy"}},"auths":{"s.test":{"auth":"eDp5"}}}"#,
            r#"{"auths":{"r.test":{"auth":"eDp5"}},"Auths":{"r.test":{"auth":"dTpodW50ZXIy"}}}"#,
            r#"{"auths":{"r.test":{"auth":"eDp5"},"r.test":{"auth":"dTpodW50ZXIy"}}}"#,
            r#"{"auths":{"r.test":{"auth":"eDp5","Auth":"dTpodW50ZXIy"}}}"#,
            r#"{"auths":{"r.test":{"Auth":"eDp5","auth":"dTpodW50ZXIy","AUTH":null}}}"#,
            r#"{"auths":null,"auths":{"r.test":{"username":"u","password":"x","Password":"hunter2"}}}"#,
            r#"{"credsStore":"x","credsStore":"","auths":{"r.test":{"auth":"dTpodW50ZXIy"}}}"#,
            // Nobody reads what stands behind, nor what this is.
            r#"{"auths":{"r.test":{"auth":"dTpodW50ZXIy"}}} {"auths":{"r.test":{"auth":"eDp5"}}}"#,
            r#"{"auths":{"r.test":{"auth":"dTpodW50ZXIy"}}}, and so on"#,
            r#"{"\ud800":1,"auths":{"\udfff":{},"r.test":{"\udfff":7,"auth":"dTpodW50ZXIy"}}}"#,
            r#"{"proxies":1e999,"x":"\ud800","auths":{"r.test":{"auth":"dTpodW50ZXIy"},"s.test":"\udfff"}}"#,
        ] {
            let found = find(json, "r.test/a").await.unwrap();
            assert_eq!(found, Some(password("u", "hunter2")), "{json}");
        }
    }

    #[test]
    fn who_has_the_credentials_of_a_registry_is_read_as_docker_reads_it() {
        let of_helper = |name: &str| {
            Some(Found::Helper {
                name: name.to_owned(),
                address: "r.test".to_owned(),
            })
        };
        let filed = Some(Found::Credential(password("u", "hunter2")));
        for (more, expected) in [
            (r#""credsStore":"Desk_1""#, of_helper("Desk_1")),
            (
                r#""credsStore":"s","credHelpers":{"r.test":""}"#,
                filed.clone(),
            ),
            (
                r#""credsStore":"s","credHelpers":{"r.test":"h"}"#,
                of_helper("h"),
            ),
            (
                r#""credsStore":"s","credHelpers":{"s.test":"h"}"#,
                of_helper("s"),
            ),
            (r#""credHelpers":{"s.test":"h"}"#, filed.clone()),
            // For a part of a registry there is a login, and for the rest a helper.
            (
                r#""credHelpers":{"r.test":"h"},"auths":{"r.test/a":{"auth":"dTpodW50ZXIy"}}"#,
                filed,
            ),
        ] {
            let json = format!(r#"{{"auths":{{"r.test":{{"auth":"dTpodW50ZXIy"}}}},{more}}}"#);
            let file = AuthFile::parse(Path::new("/f"), json.as_bytes()).unwrap();
            let found = file.find(&"r.test/a".parse().unwrap(), Scheme::Https);
            assert_eq!(found.unwrap(), expected, "{json}");
        }
    }

    #[tokio::test]
    async fn faults_name_the_file_and_hide_the_secret() {
        let error = find(r#"{"auths":{"r.test":{"auth":"c2VjcmV0"}}}"#, "r.test/a")
            .await
            .unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(
            text.contains("config.json") && text.contains("r.test"),
            "{text}"
        );
        assert!(
            !text.contains("c2VjcmV0") && !text.contains("secret\""),
            "{text}"
        );
        for json in [
            "{\"auths\":\n{\"r.test\":{\"auth\":\"aHVudGVyMg==\"",
            "{\"auths\":{},\n\"plugins\":{hunter2}}",
        ] {
            let error = find(json, "r.test/a").await.unwrap_err().to_string();
            assert!(error.contains("config.json is not valid: see line 2"));
        }
        let error = find(r#"{"credsStore":"../evil"}"#, "r.test/a")
            .await
            .unwrap_err();
        assert!(
            matches!(error, CredentialError::HelperName { .. }),
            "{error}"
        );
        for json in [
            r#"{"auths":{"r.test":{"password":271828}}}"#,
            r#"{"auths":{"r.test":"hunter2 271828"}}"#,
        ] {
            let error = find(json, "r.test/a").await.unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(
                text.contains("entry for r.test") && !text.contains("271828"),
                "{text}"
            );
        }
        let shown = format!("{:?}", password("user", "hunter2"));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
