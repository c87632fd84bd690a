//! Prepare, activate, retire: the same for certificates and for token keys.

use std::path::Path;
use std::time::{Duration, SystemTime};

use cofide_core::TrustDomain;
use cofide_runtime::files::{self, Mode};
use zeroize::Zeroizing;

use super::AuthorityError;

/// What rotates.
pub trait Rotating {
    /// How people and logs tell authorities apart.
    fn id(&self) -> &str;
    fn not_before(&self) -> SystemTime;
    fn not_after(&self) -> SystemTime;
}

/// One authority in its place in the rotation.
#[derive(Clone, Debug)]
pub(super) struct Held<A> {
    pub(super) authority: A,
    pub(super) tainted: bool,
    /// When the next one took over; set on retired ones only.
    pub(super) replaced_at: Option<SystemTime>,
}

impl<A> Held<A> {
    fn new(authority: A) -> Self {
        Self { authority, tainted: false, replaced_at: None }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Rotation<A> {
    pub(super) active: Held<A>,
    pub(super) prepared: Option<Held<A>>,
    /// The most recent first.
    pub(super) retired: Vec<Held<A>>,
    /// Grows with each change of what is published. Begins with the clock, so that an authority which takes the place of
    /// one whose key file was lost is not taken for an older state of it.
    pub(super) revision: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorityState {
    Active,
    Prepared,
    Retired,
}

/// One authority, as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityInfo {
    /// Hexadecimal: of the subject key identifier for X.509, the `kid` for JWT.
    pub id: String,
    pub state: AuthorityState,
    pub tainted: bool,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
}

/// What [`maintain`](super::Authority::maintain) did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RotationChange {
    Prepared(String),
    Activated(String),
    Retired(String),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RotationError {
    #[error("authority {0} is prepared already; activate it")]
    AlreadyPrepared(String),
    #[error("no authority is prepared; prepare one first")]
    NothingPrepared,
    #[error("there is no authority {0}")]
    Unknown(String),
    #[error("authority {0} is {1:?}; only retired ones can be tainted or revoked")]
    NotRetired(String, AuthorityState),
    #[error("cannot create the authority: {0}")]
    Crypto(String),
}

impl<A: Rotating> Rotation<A> {
    pub(super) fn new(active: A, now: SystemTime) -> Self {
        let revision = crate::seconds_since_epoch(now);
        Self { active: Held::new(active), prepared: None, retired: Vec::new(), revision }
    }

    /// All that are published: the one that signs first.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Held<A>, AuthorityState)> {
        std::iter::once((&self.active, AuthorityState::Active))
            .chain(self.prepared.iter().map(|held| (held, AuthorityState::Prepared)))
            .chain(self.retired.iter().map(|held| (held, AuthorityState::Retired)))
    }

    pub(super) fn info(&self) -> Vec<AuthorityInfo> {
        let info = |(held, state): (&Held<A>, AuthorityState)| AuthorityInfo {
            id: held.authority.id().into(),
            state,
            tainted: held.tainted,
            not_before: held.authority.not_before(),
            not_after: held.authority.not_after(),
        };
        self.all().map(info).collect()
    }

    pub(super) fn prepare(&mut self, create: impl FnOnce() -> Result<A, RotationError>) -> Result<String, RotationError> {
        if let Some(prepared) = &self.prepared {
            return Err(RotationError::AlreadyPrepared(prepared.authority.id().into()));
        }
        let authority = create()?;
        let id = authority.id().to_owned();
        self.prepared = Some(Held::new(authority));
        self.revision += 1;
        Ok(id)
    }

    /// Publishes nothing new, hence the revision stays.
    pub(super) fn activate(&mut self, now: SystemTime) -> Result<String, RotationError> {
        let next = self.prepared.take().ok_or(RotationError::NothingPrepared)?;
        let id = next.authority.id().to_owned();
        let previous = std::mem::replace(&mut self.active, next);
        self.retired.insert(0, Held { replaced_at: Some(now), ..previous });
        Ok(id)
    }

    /// Drops the retired ones of which nothing that they signed can be alive: `longest_life` is that of what they sign.
    pub(super) fn retire(&mut self, now: SystemTime, longest_life: Duration) -> Vec<String> {
        let is_done = |held: &Held<A>| {
            held.authority.not_after() < now || held.replaced_at.is_none_or(|replaced_at| replaced_at + longest_life < now)
        };
        let (done, retired): (Vec<_>, Vec<_>) = std::mem::take(&mut self.retired).into_iter().partition(is_done);
        self.retired = retired;
        self.revision += u64::from(!done.is_empty());
        done.into_iter().map(|held| held.authority.id().to_owned()).collect()
    }

    pub(super) fn taint(&mut self, id: &str) -> Result<(), RotationError> {
        let position = self.retired_position(id)?;
        if !self.retired[position].tainted {
            self.retired[position].tainted = true;
            self.revision += 1;
        }
        Ok(())
    }

    pub(super) fn revoke(&mut self, id: &str) -> Result<(), RotationError> {
        let position = self.retired_position(id)?;
        self.retired.remove(position);
        self.revision += 1;
        Ok(())
    }

    fn retired_position(&self, id: &str) -> Result<usize, RotationError> {
        if let Some(position) = self.retired.iter().position(|held| held.authority.id() == id) {
            return Ok(position);
        }
        match self.all().find(|(held, _)| held.authority.id() == id) {
            Some((_, state)) => Err(RotationError::NotRetired(id.into(), state)),
            None => Err(RotationError::Unknown(id.into())),
        }
    }

    /// What is due: prepare after half of the active one's life, activate when a sixth is left, retire when done.
    pub(super) fn maintain(
        &mut self,
        now: SystemTime,
        longest_life: Duration,
        create: impl FnOnce() -> Result<A, RotationError>,
    ) -> Result<Vec<RotationChange>, RotationError> {
        let mut changes = Vec::new();
        let (not_before, not_after) = (self.active.authority.not_before(), self.active.authority.not_after());
        let life = not_after.duration_since(not_before).unwrap_or_default();
        let left = not_after.duration_since(now).unwrap_or_default();
        if self.prepared.is_none() && left < life / 2 {
            changes.push(RotationChange::Prepared(self.prepare(create)?));
        }
        if self.prepared.is_some() && left < life / 6 {
            changes.push(RotationChange::Activated(self.activate(now)?));
        }
        changes.extend(self.retire(now, longest_life).into_iter().map(RotationChange::Retired));
        Ok(changes)
    }
}

/// The form on disk.
pub(super) mod file {
    use serde::{Deserialize, Serialize};

    /// Raised when the meaning of a field changes.
    pub(in crate::authority) const VERSION: u32 = 1;

    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(in crate::authority) struct KeyFile<E> {
        pub(in crate::authority) version: u32,
        pub(in crate::authority) trust_domain: String,
        pub(in crate::authority) revision: u64,
        pub(in crate::authority) active: Entry<E>,
        pub(in crate::authority) prepared: Option<Entry<E>>,
        pub(in crate::authority) retired: Vec<Entry<E>>,
    }

    #[derive(Serialize, Deserialize)]
    pub(in crate::authority) struct Entry<E> {
        #[serde(flatten)]
        pub(in crate::authority) authority: E,
        pub(in crate::authority) tainted: bool,
        /// Seconds since the Unix epoch.
        pub(in crate::authority) replaced_at: Option<i64>,
    }
}

/// As [`crate::from_seconds_since_epoch`] reads it.
pub(super) fn file_time(time: SystemTime) -> i64 {
    i64::try_from(crate::seconds_since_epoch(time)).unwrap_or(i64::MAX)
}

/// How one kind of authority is written and read.
pub trait Stored: Rotating + Sized {
    type Entry: serde::Serialize + serde::de::DeserializeOwned;
    fn to_entry(&self) -> Self::Entry;
    fn from_entry(entry: Self::Entry) -> Result<Self, String>;
}

impl<A: Stored> Rotation<A> {
    pub(super) fn save(&self, path: &Path, trust_domain: &TrustDomain) -> Result<(), AuthorityError> {
        Ok(files::write_atomic(path, self.to_text(trust_domain).as_bytes(), Mode::Secret)?)
    }

    pub(super) fn to_text(&self, trust_domain: &TrustDomain) -> Zeroizing<String> {
        let entry = |held: &Held<A>| file::Entry {
            authority: held.authority.to_entry(),
            tainted: held.tainted,
            replaced_at: held.replaced_at.map(file_time),
        };
        let content = file::KeyFile {
            version: file::VERSION,
            trust_domain: trust_domain.as_str().to_owned(),
            revision: self.revision,
            active: entry(&self.active),
            prepared: self.prepared.as_ref().map(entry),
            retired: self.retired.iter().map(entry).collect(),
        };
        Zeroizing::new(serde_json::to_string_pretty(&content).expect("strings and numbers are always JSON"))
    }

    /// `None` where there is no such file.
    pub(super) fn load_if_present(path: &Path, trust_domain: &TrustDomain) -> Result<Option<Self>, AuthorityError> {
        match Self::load(path, trust_domain) {
            Ok(rotation) => Ok(Some(rotation)),
            Err(AuthorityError::File(error)) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn load(path: &Path, trust_domain: &TrustDomain) -> Result<Self, AuthorityError> {
        Self::from_text(&files::read_secret(path)?, path, trust_domain)
    }

    /// `path` is where the text is from, for the errors.
    pub(super) fn from_text(text: &[u8], path: &Path, trust_domain: &TrustDomain) -> Result<Self, AuthorityError> {
        let content = |reason: String| AuthorityError::Content { path: path.to_path_buf(), reason };
        // The reason names a place in the file and never quotes it.
        let file: file::KeyFile<A::Entry> = serde_json::from_slice(text)
            .map_err(|error| content(format!("unexpected content at line {}, column {}", error.line(), error.column())))?;
        if file.version != file::VERSION {
            return Err(content(format!("it has version {}, this program reads version {}", file.version, file::VERSION)));
        }
        if file.trust_domain != trust_domain.as_str() {
            return Err(AuthorityError::OtherTrustDomain {
                path: path.to_path_buf(),
                expected: trust_domain.clone(),
                found: file.trust_domain,
            });
        }
        let held = |entry: file::Entry<A::Entry>| {
            Ok(Held {
                authority: A::from_entry(entry.authority).map_err(content)?,
                tainted: entry.tainted,
                replaced_at: entry.replaced_at.map(crate::from_seconds_since_epoch),
            })
        };
        Ok(Self {
            active: held(file.active)?,
            prepared: file.prepared.map(held).transpose()?,
            retired: file.retired.into_iter().map(held).collect::<Result<_, AuthorityError>>()?,
            revision: file.revision,
        })
    }
}
