//! A bucket as a guest has it open, whichever sort it is: one call, one answer.

use std::sync::Arc;

use super::counter::Range;
use super::failure::{Failure, FileFailure};
use super::files::Place;
use super::format;
use super::key::Key;
use super::limits;
use super::memory::MemoryBucket;
use crate::account::Held;
use crate::files::Files;

/// An open bucket; a cheap clone.
#[derive(Clone)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub enum Bucket {
    /// In the pod's memory.
    Memory(MemoryBucket),
    /// On a volume.
    Volume(VolumeBucket),
}

/// A bucket on a volume, and the threads that its calls run on.
#[derive(Clone)]
pub(crate) struct VolumeBucket {
    place: Place,
    files: Files,
    /// Its path, which the guest has chosen.
    _held: Arc<Held>,
}

/// A key, and the version of it that a swap replaces.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Cas {
    bucket: Bucket,
    key: Key,
    /// None where there was no such key.
    seen: Option<u64>,
    /// The key's text.
    held: Arc<Held>,
}

/// A key with its value, where it has one.
type Pair = Option<(String, Vec<u8>)>;

// === impl Bucket ===

impl Bucket {
    /// A bucket on a volume; `held` is its path.
    pub(super) fn on_volume(place: Place, files: Files, held: Held) -> Self {
        Self::Volume(VolumeBucket {
            place,
            files,
            _held: Arc::new(held),
        })
    }

    pub(super) async fn get(&self, key: String) -> Result<Option<Vec<u8>>, Failure> {
        let found = self.look_up(Key::new(key)?).await?;
        Ok(found.map(|(value, _)| value))
    }

    pub(super) async fn set(&self, key: String, value: Vec<u8>) -> Result<(), Failure> {
        let key = Key::new(key)?;
        check_value(&value)?;
        match self {
            Self::Memory(bucket) => bucket.set(key, value),
            Self::Volume(bucket) => {
                // The value, and the file that is made of it.
                let asked = key.text.len() + 2 * value.len();
                let set = move |place: &Place| place.set(&key, &value);
                bucket.call(asked, nothing, set).await
            }
        }
    }

    pub(super) async fn delete(&self, key: String) -> Result<(), Failure> {
        let key = Key::new(key)?;
        match self {
            Self::Memory(bucket) => {
                bucket.delete(&key);
                Ok(())
            }
            Self::Volume(bucket) => {
                let delete = move |place: &Place| place.delete(&key);
                bucket.call(limits::KEY, nothing, delete).await
            }
        }
    }

    pub(super) async fn exists(&self, key: String) -> Result<bool, Failure> {
        let key = Key::new(key)?;
        match self {
            Self::Memory(bucket) => Ok(bucket.get(&key).is_some()),
            Self::Volume(bucket) => {
                let exists = move |place: &Place| place.exists(&key);
                bucket.call(limits::KEY, nothing, exists).await
            }
        }
    }

    /// The keys of the next page, and the cursor after it if there are more.
    pub(super) async fn list(
        &self,
        cursor: Option<u64>,
    ) -> Result<(Vec<String>, Option<u64>), Failure> {
        match self {
            Self::Memory(bucket) => Ok(bucket.list(cursor)),
            Self::Volume(bucket) => {
                let answered = |(keys, _): &(Vec<String>, Option<u64>)| {
                    keys.iter().map(String::len).sum::<usize>()
                };
                let list = move |place: &Place| place.list(cursor);
                bucket.call(0, answered, list).await
            }
        }
    }

    pub(super) async fn increment(
        &self,
        key: String,
        delta: i128,
        range: Range,
    ) -> Result<i128, Failure> {
        let key = Key::new(key)?;
        match self {
            Self::Memory(bucket) => bucket.increment(key, delta, &range),
            Self::Volume(bucket) => {
                let count = move |place: &Place| place.increment(&key, delta, &range);
                bucket.call(limits::KEY, nothing, count).await
            }
        }
    }

    /// The keys with their values, none for a key that is not there, in the order asked.
    pub(super) async fn get_many(&self, keys: Vec<String>) -> Result<Vec<Pair>, Failure> {
        let keys = batch(keys)?;
        let answered = |pairs: &Vec<Pair>| {
            let pairs = pairs.iter().flatten();
            pairs
                .map(|(key, value)| key.len() + value.len())
                .sum::<usize>()
        };
        match self {
            Self::Memory(bucket) => gathered(keys, |key| {
                Ok::<_, Failure>(bucket.get(key).map(|(value, _)| value.to_vec()))
            }),
            Self::Volume(bucket) => {
                let asked = bytes_of(&keys);
                let all = move |place: &Place| {
                    gathered(keys, |key| {
                        Ok::<_, FileFailure>(place.get(key)?.map(|stored| stored.value))
                    })
                };
                bucket.call(asked, answered, all).await
            }
        }
    }

    /// Writes one after the other, and ends at the first that fails.
    pub(super) async fn set_many(&self, pairs: Vec<(String, Vec<u8>)>) -> Result<(), Failure> {
        let (keys, values): (Vec<String>, Vec<Vec<u8>>) = pairs.into_iter().unzip();
        values.iter().try_for_each(|value| check_value(value))?;
        let keys = batch(keys)?;
        let largest = values.iter().map(Vec::len).max().unwrap_or_default();
        let asked = bytes_of(&keys) + values.iter().map(Vec::len).sum::<usize>() + largest;
        let mut pairs = keys.into_iter().zip(values);
        match self {
            Self::Memory(bucket) => pairs.try_for_each(|(key, value)| bucket.set(key, value)),
            Self::Volume(bucket) => {
                let all =
                    move |place: &Place| pairs.try_for_each(|(key, value)| place.set(&key, &value));
                bucket.call(asked, nothing, all).await
            }
        }
    }

    pub(super) async fn delete_many(&self, keys: Vec<String>) -> Result<(), Failure> {
        let keys = batch(keys)?;
        match self {
            Self::Memory(bucket) => {
                keys.iter().for_each(|key| bucket.delete(key));
                Ok(())
            }
            Self::Volume(bucket) => {
                let asked = bytes_of(&keys);
                let all = move |place: &Place| keys.iter().try_for_each(|key| place.delete(key));
                bucket.call(asked, nothing, all).await
            }
        }
    }

    /// The value and its version.
    async fn look_up(&self, key: Key) -> Result<Option<(Vec<u8>, u64)>, Failure> {
        match self {
            Self::Memory(bucket) => {
                let found = bucket.get(&key);
                Ok(found.map(|(value, version)| (value.to_vec(), version)))
            }
            Self::Volume(bucket) => {
                let answered = |found: &Option<format::Stored>| {
                    found.as_ref().map_or(0, |stored| stored.value.len())
                };
                let get = move |place: &Place| place.get(&key);
                let found = bucket.call(limits::KEY, answered, get).await?;
                Ok(found.map(|stored| (stored.value, stored.version)))
            }
        }
    }
}

// === impl VolumeBucket ===

impl VolumeBucket {
    /// Runs a call where it may block. `asked` bytes are held until it has run, however long it waits
    /// for its turn, and from then on what it answers, by `answered`. While it runs a pod has a few
    /// answers beside that, none larger than `limits` says.
    async fn call<T: Send + 'static>(
        &self,
        asked: usize,
        answered: fn(&T) -> usize,
        call: impl FnOnce(&Place) -> Result<T, FileFailure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (place, files) = (self.place.clone(), self.files.clone());
        let asked = self.files.held(asked).await;
        let done = self.files.call(move || {
            let done = match call(&place) {
                Ok(done) => Ok(done),
                Err(FileFailure::Guest(failure)) => Err(failure),
                Err(FileFailure::Files(error)) => return Err(error),
            };
            drop(asked);
            let held = files.hold(done.as_ref().map_or(0, answered))?;
            Ok((done, held))
        });
        match done.await {
            Ok((done, _held)) => done,
            Err(error) => Err(Failure::of_files(&self.place.path, error)),
        }
    }
}

// === impl Cas ===

impl Cas {
    /// Of the key as it is now; `held` is its text.
    pub(super) async fn new(bucket: Bucket, key: String, held: Held) -> Result<Self, Failure> {
        let key = Key::new(key)?;
        let mut cas = Self {
            bucket,
            key,
            seen: None,
            held: Arc::new(held),
        };
        cas.look().await?;
        Ok(cas)
    }

    /// What it takes to look at the key outside of the table that it lies in.
    pub(super) fn again(&self) -> Self {
        Self {
            bucket: self.bucket.clone(),
            key: self.key.clone(),
            seen: self.seen,
            held: Arc::clone(&self.held),
        }
    }

    /// The value now; a swap is held against this one from now on.
    pub(super) async fn look(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let found = self.bucket.look_up(self.key.clone()).await?;
        self.seen = found.as_ref().map(|(_, version)| *version);
        Ok(found.map(|(value, _)| value))
    }

    /// Writes if nobody has written since it was looked at; else answers a new one, of the key as
    /// it is by then.
    pub(super) async fn swap(self, value: Vec<u8>) -> Result<Option<Self>, Failure> {
        check_value(&value)?;
        let (key, seen) = (self.key.clone(), self.seen);
        let is_done = match &self.bucket {
            Bucket::Memory(bucket) => bucket.swap(key, seen, value)?,
            Bucket::Volume(bucket) => {
                let asked = key.text.len() + 2 * value.len();
                let swap = move |place: &Place| place.swap(&key, seen, &value);
                bucket.call(asked, nothing, swap).await?
            }
        };
        if is_done {
            return Ok(None);
        }
        let mut next = self;
        next.look().await?;
        Ok(Some(next))
    }
}

/// Errors: other, if it is too long.
fn check_value(value: &[u8]) -> Result<(), Failure> {
    if value.len() <= limits::VALUE {
        return Ok(());
    }
    Err(Failure::Other(format!(
        "the value has {} bytes, and {} is the most: keep it in a file, or in parts",
        value.len(),
        limits::VALUE
    )))
}

/// Errors: other, for too many keys or one that is too long.
fn batch(keys: Vec<String>) -> Result<Vec<Key>, Failure> {
    if keys.len() > limits::BATCH {
        return Err(Failure::Other(format!(
            "the batch has {} keys, and {} is the most: make several",
            keys.len(),
            limits::BATCH
        )));
    }
    keys.into_iter().map(Key::new).collect()
}

/// The bytes of an answer that has none to speak of.
fn nothing<T>(_: &T) -> usize {
    0
}

/// The bytes of all keys.
fn bytes_of(keys: &[Key]) -> usize {
    keys.iter().map(|key| key.text.len()).sum()
}

/// What `get` finds of each key, as long as all of it together is no more than the host will hold.
fn gathered<E: From<Failure>>(
    keys: Vec<Key>,
    get: impl Fn(&Key) -> Result<Option<Vec<u8>>, E>,
) -> Result<Vec<Pair>, E> {
    let mut bytes = 0;
    let mut all = Vec::with_capacity(keys.len());
    for key in keys {
        let value = get(&key)?;
        bytes += value.as_ref().map_or(0, Vec::len);
        if bytes > limits::ANSWER {
            return Err(E::from(Failure::Other(format!(
                "the values are more than {} bytes together, which is the most that get-many answers: ask for fewer keys",
                limits::ANSWER
            ))));
        }
        all.push(value.map(|value| (key.text, value)));
    }
    Ok(all)
}
