//! Credentials as Docker, podman and their users keep them (docker's `config.json`,
//! containers-auth.json(5), the credential helper protocol).

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose;
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::oci::reference::Reference;

/// The name under which Docker files its Hub's credentials.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// How long a credential helper may take; some ask a cloud's login service.
const HELPER_TIMEOUT: Duration = Duration::from_secs(60);

const HELPER_OUTPUT_LIMIT: u64 = 256 * 1024;

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
    IdentityToken(String),
    /// A ready access token.
    RegistryToken(String),
}

/// Never shows the secret.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credential::Password { .. } => "Password(…)",
            Credential::IdentityToken(_) => "IdentityToken(…)",
            Credential::RegistryToken(_) => "RegistryToken(…)",
        })
    }
}

/// Why the credentials of a registry are not to be had.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// A file that was named cannot be read.
    #[error("cannot read the credentials file {path}", path = .0.display())]
    Read(PathBuf, #[source] io::Error),
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
    /// An `auth` value is not base64 of USER:PASSWORD.
    #[error("the credentials file {path} has a malformed \"auth\" for {key}: log in again", path = .path.display())]
    Auth {
        /// The file.
        path: PathBuf,
        /// The entry in `auths`.
        key: String,
    },
    /// A helper's name has characters that no helper's name has.
    #[error("the credentials file {path} names the credential helper {name:?}: only a-z, 0-9, _, . and - may be in its name", path = .path.display())]
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

impl Keychain {
    /// A keychain with the one file `path`, which must exist.
    pub fn of_file(path: &Path) -> Result<Self, CredentialError> {
        fs::metadata(path).map_err(|error| CredentialError::Read(path.to_owned(), error))?;
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

    /// The credential for an image: the first file's that has one; `None` to ask anonymously.
    pub async fn find(&self, reference: &Reference) -> Result<Option<Credential>, CredentialError> {
        for path in &self.files {
            let text = match fs::read(path) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(CredentialError::Read(path.clone(), error)),
            };
            let credential = match AuthFile::parse(path, &text)?.find(reference)? {
                Some(Found::Credential(credential)) => Some(credential),
                Some(Found::Helper { name, address }) => run_helper(path, &name, &address).await?,
                None => None,
            };
            if credential.is_some() {
                return Ok(credential);
            }
        }
        Ok(None)
    }
}

/// What Docker or podman wrote into one file.
#[derive(Clone)]
pub struct AuthFile {
    path: PathBuf,
    config: Config,
}

/// What a file has for an image.
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

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Config {
    auths: BTreeMap<String, Auth>,
    creds_store: Option<String>,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_field_names, reason = "the file format's names")]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

/// Shows no entry: they hold secrets.
impl fmt::Debug for AuthFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AuthFile").field(&self.path).finish()
    }
}

impl AuthFile {
    /// Parses `bytes`, the content of the file `path`, which errors name.
    #[expect(clippy::disallowed_methods, reason = "it is no document of an image")]
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, CredentialError> {
        let config = serde_json::from_slice(bytes).map_err(|error| CredentialError::Json {
            path: path.to_owned(),
            line: error.line(),
            column: error.column(),
        })?;
        Ok(AuthFile {
            path: path.to_owned(),
            config,
        })
    }

    /// What the file has for an image, under the most specific key; runs no helper.
    pub fn find(&self, reference: &Reference) -> Result<Option<Found>, CredentialError> {
        for key in keys(reference) {
            if let Some((_, helper)) = filed(&self.config.cred_helpers, &key).next() {
                return self.helper(helper, reference).map(Some);
            }
            for (name, auth) in filed(&self.config.auths, &key) {
                if let Some(credential) = auth.credential(&self.path, name)? {
                    return Ok(Some(Found::Credential(credential)));
                }
            }
        }
        match &self.config.creds_store {
            Some(helper) if !helper.is_empty() => self.helper(helper, reference).map(Some),
            _ => Ok(None),
        }
    }

    fn helper(&self, name: &str, reference: &Reference) -> Result<Found, CredentialError> {
        let allowed =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte);
        if name.is_empty() || !name.bytes().all(allowed) {
            return Err(CredentialError::HelperName {
                path: self.path.clone(),
                name: name.to_owned(),
            });
        }
        let address = match reference.registry() {
            "docker.io" => DOCKER_HUB,
            registry => registry,
        };
        Ok(Found::Helper {
            name: name.to_owned(),
            address: address.to_owned(),
        })
    }
}

impl Auth {
    fn credential(&self, path: &Path, key: &str) -> Result<Option<Credential>, CredentialError> {
        let set = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        if let Some(token) = set(&self.identitytoken) {
            return Ok(Some(Credential::IdentityToken(token)));
        }
        if let Some(token) = set(&self.registrytoken) {
            return Ok(Some(Credential::RegistryToken(token)));
        }
        if let Some(auth) = set(&self.auth) {
            let decoded = general_purpose::GeneralPurpose::new(
                &base64::alphabet::STANDARD,
                general_purpose::GeneralPurposeConfig::new()
                    .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
            )
            .decode(auth.trim())
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok());
            // Docker's own writer has been seen to end the value with NUL bytes.
            let parts = decoded.as_deref().and_then(|text| {
                let (user, password) = text.trim_end_matches('\0').split_once(':')?;
                Some((user.to_owned(), password.to_owned()))
            });
            return match parts {
                Some((user, password)) => Ok(Some(Credential::Password { user, password })),
                None => Err(CredentialError::Auth {
                    path: path.to_owned(),
                    key: key.to_owned(),
                }),
            };
        }
        Ok(match (set(&self.username), set(&self.password)) {
            (Some(user), Some(password)) => Some(Credential::Password { user, password }),
            _ => None,
        })
    }
}

/// The keys under which an image's credential may be filed, the most specific first:
/// `host/team/app`, `host/team`, `host`.
fn keys(reference: &Reference) -> Vec<String> {
    let whole = format!("{}/{}", reference.registry(), reference.repository());
    let mut keys: Vec<String> = whole
        .match_indices('/')
        .map(|(end, _)| whole[..end].to_owned())
        .collect();
    keys.push(whole);
    keys.reverse();
    keys
}

/// What is filed under a key, and then what is filed under older forms of it.
fn filed<'a, T>(
    entries: &'a BTreeMap<String, T>,
    key: &'a str,
) -> impl Iterator<Item = (&'a String, &'a T)> {
    let older = entries
        .iter()
        .filter(move |(name, _)| *name != key && normal(name) == key);
    entries.get_key_value(key).into_iter().chain(older)
}

/// A key of `auths` without what Docker's older versions put around the host.
fn normal(key: &str) -> String {
    let key = key
        .trim_start_matches("https://")
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .trim_end_matches("/v1")
        .trim_end_matches("/v2");
    match key.split_once('/').unwrap_or((key, "")) {
        ("index.docker.io" | "registry-1.docker.io", "") => "docker.io".to_owned(),
        _ => key.to_owned(),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperResponse {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

#[expect(clippy::disallowed_methods, reason = "it is no document of an image")]
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
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| CredentialError::HelperSpawn {
            path: path.to_owned(),
            name: name.to_owned(),
            source,
        })?;
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let stdout = child.stdout.take().expect("stdout is piped");
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
        let said = String::from_utf8_lossy(&output);
        if said.contains("credentials not found") {
            return Ok(None);
        }
        return Err(failed(said.lines().next().unwrap_or("it said nothing")));
    }
    let response: HelperResponse = serde_json::from_slice(&output)
        .map_err(|_| failed("its answer is not the JSON of the helper protocol"))?;
    Ok(match response.username.as_str() {
        "" if response.secret.is_empty() => None,
        "<token>" => Some(Credential::IdentityToken(response.secret)),
        _ => Some(Credential::Password {
            user: response.username,
            password: response.secret,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn find(json: &str, image: &str) -> Result<Option<Credential>, CredentialError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        fs::write(&path, json).unwrap();
        let keychain = Keychain::of_file(&path).unwrap();
        keychain.find(&image.parse().unwrap()).await
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
        assert_eq!(find(json, "r.test:443/team/app").await.unwrap(), None);
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
        assert_eq!(found, Some(Credential::IdentityToken("t".to_owned())));
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
                text.contains("line 1") && !text.contains("271828"),
                "{text}"
            );
        }
        let shown = format!("{:?}", password("user", "hunter2"));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
