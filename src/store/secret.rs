//! The secret of a gateway without configured secrets: made once, and the same after every restart with the same store.

use std::fmt::Write as _;

use secrecy::SecretString;

use super::{Durability, Store, StoreError, StoreTable};

const TABLE: StoreTable = StoreTable::new("secret");

/// The key of the secret from which keys are derived.
const KEY: &[u8] = b"keys";

/// Returns the secret in `store`, and makes it if there is none. All callers, in all replicas, receive the same secret.
pub async fn secret(store: &dyn Store) -> Result<SecretString, StoreError> {
    let keys = [KEY.to_vec()];
    if let Some(stored) = store.get_many(TABLE, &keys).await?.pop().flatten() {
        return read(stored);
    }
    let mut transaction = store.begin(Durability::Immediate).await?;
    if let Some(stored) = transaction.get_many(TABLE, &keys).await?.pop().flatten() {
        return read(stored);
    }
    let secret = random()?;
    transaction.put_many(TABLE, &[(KEY.to_vec(), secret.clone().into_bytes())]).await?;
    transaction.commit().await?;
    Ok(secret.into())
}

fn read(stored: Vec<u8>) -> Result<SecretString, StoreError> {
    String::from_utf8(stored)
        .map(SecretString::from)
        .map_err(|_| StoreError::Malformed("the secret is not text"))
}

/// Returns 256 random bits in hexadecimal digits.
fn random() -> Result<String, StoreError> {
    let mut bytes = [0_u8; 32];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| StoreError::Malformed("the operating system returns no random numbers"))?;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}
