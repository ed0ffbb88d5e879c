//! A transaction's name, chosen by the primary.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A transaction's name: 16 random bytes in hexadecimal digits, so always a plain file name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TransactionId(String);

/// Why a text is not a transaction's name.
#[derive(Debug, Error)]
#[error("a transaction id is 32 hexadecimal digits")]
pub struct TransactionIdError;

impl TransactionId {
    /// A fresh one.
    pub fn random() -> std::io::Result<Self> {
        let mut bytes = [0; 16];
        openssl::rand::rand_bytes(&mut bytes).map_err(std::io::Error::other)?;
        Ok(TransactionId(format!("{:032x}", u128::from_be_bytes(bytes))))
    }

    /// Its digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for TransactionId {
    type Error = TransactionIdError;
    fn try_from(text: String) -> Result<Self, TransactionIdError> {
        let fit = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        fit.then_some(TransactionId(text)).ok_or(TransactionIdError)
    }
}

impl From<TransactionId> for String {
    fn from(id: TransactionId) -> String {
        id.0
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_id_is_always_a_plain_file_name() {
        let id = TransactionId::random().unwrap();
        assert!(TransactionId::try_from(id.0.clone()).is_ok_and(|read| read == id));
        assert_eq!(
            (id.as_str(), id.to_string(), String::from(id.clone())),
            (id.0.as_str(), id.0.clone(), id.0.clone())
        );
        assert_ne!(TransactionId::random().unwrap(), id);
        for bad in ["", "../../../../../../../../../../x", "ABCDEF00ABCDEF00ABCDEF00ABCDEF00", "0", &"0".repeat(33)] {
            assert!(TransactionId::try_from(bad.to_owned()).is_err());
        }
    }
}
