//! KVM's structs in a snapshot: their bytes, as a string of hexadecimal digits. A snapshot is read
//! by the same version of lguest, and a struct of another length is refused.

use std::any::type_name;
use std::fmt;

use devices::state::HexBytes;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A struct of KVM's interface. Two of them are equal if all their bytes are.
#[derive(Clone, Copy)]
pub struct Raw<T>(pub T);

impl<T: IntoBytes + Immutable> Raw<T> {
    fn bytes(&self) -> HexBytes {
        HexBytes(self.0.as_bytes().to_vec())
    }
}

impl<T: IntoBytes + Immutable> PartialEq for Raw<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes() == other.0.as_bytes()
    }
}

impl<T: IntoBytes + Immutable> fmt::Debug for Raw<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from(self.bytes()))
    }
}

impl<T: IntoBytes + Immutable> Serialize for Raw<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.bytes().serialize(serializer)
    }
}

impl<'de, T: FromBytes> Deserialize<'de> for Raw<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let HexBytes(bytes) = HexBytes::deserialize(deserializer)?;
        let read = T::read_from_bytes(&bytes);
        read.map(Self).map_err(|_| {
            let name = type_name::<T>();
            let name = name.rsplit("::").next().unwrap_or(name);
            D::Error::custom(format!("{name} has {} bytes, not {}", size_of::<T>(), bytes.len()))
        })
    }
}

#[cfg(test)]
mod tests {
    use kvm_bindings::kvm_mp_state;

    use super::*;

    fn read(json: &str) -> Result<u32, String> {
        let read: Result<Raw<kvm_mp_state>, _> = serde_json::from_str(json);
        read.map(|raw| raw.0.mp_state).map_err(|error| error.to_string())
    }

    #[test]
    fn a_struct_is_written_and_read_as_hexadecimal_digits() {
        let json = serde_json::to_string(&Raw(kvm_mp_state { mp_state: 0x12ab }));
        assert_eq!(json.unwrap(), "\"ab120000\"");
        assert_eq!(read("\"ab120000\""), Ok(0x12ab));
        assert_eq!(read("\"AB120000\""), Ok(0x12ab));
    }

    #[test]
    fn a_damaged_struct_is_refused() {
        assert!(read("\"ab12\"").unwrap_err().starts_with("kvm_mp_state has 4 bytes, not 2"));
        assert!(read("\"ab12000000\"").unwrap_err().starts_with("kvm_mp_state has 4 bytes, not 5"));
        for json in ["\"ab12000\"", "\"ab1200+0\"", "\"ab12000é\"", "\"xyz\""] {
            assert!(read(json).is_err(), "{json}");
        }
        assert!(read("7").is_err() && read("null").is_err());
    }
}
