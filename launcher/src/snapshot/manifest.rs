//! The manifest of a snapshot: what the other files are, and what a host must have to restore it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow, ensure};
use devices::number::low_u64;
use host::disk::DiskIdentity;
use serde::{Deserialize, Serialize};

use super::warm::WarmKey;

/// The version of the format that this launcher writes and reads. It refuses snapshots
/// of all others.
pub(crate) const FORMAT: u32 = 2;

/// A manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// The version of the format.
    pub(crate) format: u32,
    /// The version of lguest that wrote it.
    pub(crate) lguest: String,
    /// The release of the host's kernel.
    pub(crate) host_kernel: String,
    /// Milliseconds since 1970.
    pub(crate) saved: u64,
    /// The guest's name.
    pub(crate) name: String,
    /// The options of the launch, as a file for `--config`.
    pub(crate) options: String,
    /// The directory from which relative paths in the options count.
    pub(crate) directory: PathBuf,
    /// Bytes of guest memory.
    pub(crate) memory: u64,
    /// The number of CPUs.
    pub(crate) cpus: u8,
    /// The disks, vda first.
    pub(crate) disks: Vec<DiskIdentity>,
    /// The network cards, eth0 first.
    pub(crate) cards: Vec<CardIdentity>,
    /// The number of consoles.
    pub(crate) consoles: usize,
    /// What the snapshot belongs to, if `--warm` has made it.
    // Without this, serde takes a missing field for None.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) warm: Option<WarmKey>,
    /// All other files of the snapshot, by name.
    pub(crate) files: BTreeMap<String, FileEntry>,
}

/// What a guest knows of its network card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CardIdentity {
    /// The MAC address.
    pub(crate) mac: [u8; 6],
    /// The number of queue pairs.
    pub(crate) queues: u8,
}

/// A file of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileEntry {
    /// Bytes.
    pub(crate) length: u64,
    /// CRC-32 of the contents (IEEE 802.3). Guest memory has one of its pages that are not zero,
    /// and the private part of a disk has none.
    pub(crate) crc32: Option<u32>,
}

impl Manifest {
    /// Parse a manifest.
    ///
    /// # Errors
    /// When it is of another format, or is not one.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        /// The field that all formats have.
        #[derive(Deserialize)]
        struct AnyFormat {
            format: u32,
            #[serde(default)]
            lguest: String,
        }
        let any: AnyFormat =
            serde_json::from_slice(bytes).map_err(|error| anyhow!("it is damaged: {error}"))?;
        ensure!(
            any.format == FORMAT,
            "it has format {}, written by lguest {}; this lguest reads format {FORMAT}: restore it \
             with that one",
            any.format,
            any.lguest
        );
        serde_json::from_slice(bytes).map_err(|error| anyhow!("it is damaged: {error}"))
    }

    /// The manifest as the text of its file.
    pub(crate) fn text(&self) -> String {
        // Cannot fail: the manifest consists of strings and numbers.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// How long ago the snapshot was made.
    pub(crate) fn age(&self) -> Duration {
        Duration::from_millis(now().saturating_sub(self.saved))
    }
}

/// Milliseconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    low_u64(since.as_millis())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The manifest of a guest with one console.
    pub(crate) fn example() -> Manifest {
        Manifest {
            format: FORMAT,
            lguest: "9.8.7".into(),
            host_kernel: "6.1.0".into(),
            saved: 1_700_000_000_000,
            name: "example".into(),
            options: "memory = 64\nkernel = \"vmlinuz\"\n".into(),
            directory: "/somewhere".into(),
            memory: 64 << 20,
            cpus: 1,
            disks: Vec::new(),
            cards: vec![CardIdentity { mac: [2, 0, 0, 0, 0, 1], queues: 1 }],
            consoles: 1,
            warm: None,
            files: super::super::files(1, &[])
                .into_iter()
                .map(|name| (name, FileEntry { length: 0, crc32: Some(0) }))
                .collect(),
        }
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written() {
        assert_eq!(Manifest::parse(example().text().as_bytes()).unwrap(), example());
    }

    #[test]
    fn another_format_is_named_with_its_writer() {
        let other = Manifest { format: 1, ..example() };
        let error = Manifest::parse(other.text().as_bytes()).unwrap_err().to_string();
        assert!(error.contains("format 1, written by lguest 9.8.7"), "{error}");
        // A later format may have other fields.
        let error = Manifest::parse(br#"{"format": 7, "new": true}"#).unwrap_err().to_string();
        assert!(error.contains("format 7"), "{error}");
    }

    #[test]
    fn every_field_is_needed_and_no_other_is_taken() {
        let whole: serde_json::Value = serde_json::from_str(&example().text()).unwrap();
        let whole = whole.as_object().unwrap();
        for field in whole.keys() {
            let mut part = whole.clone();
            part.remove(field);
            let text = serde_json::to_string(&part).unwrap();
            assert!(Manifest::parse(text.as_bytes()).is_err(), "without {field}");
        }
        let mut more = whole.clone();
        more.insert("more".into(), true.into());
        let error = Manifest::parse(serde_json::to_string(&more).unwrap().as_bytes()).unwrap_err();
        assert!(error.to_string().contains("unknown field `more`"), "{error}");
    }
}
