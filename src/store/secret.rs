//! The secret of a gateway without configured secrets: made once, and the same after every restart with the same store.

use std::fmt::Write as _;

use secrecy::SecretString;

use super::{Durability, Store, StoreError, StoreTable};

const TABLE: StoreTable = StoreTable::new("secrets.1");

/// The key of the secret from which keys are derived.
const KEY: &[u8] = b"keys";

/// Returns the secret in `store`, and makes it if there is none. Two callers receive the same secret.
pub fn secret(store: &dyn Store) -> Result<SecretString, StoreError> {
    let stored = store.read()?.table(TABLE)?.get(KEY)?;
    if let Some(stored) = stored {
        return read(stored);
    }
    let transaction = store.write(Durability::Immediate)?;
    let secret = {
        let mut table = transaction.table(TABLE)?;
        if let Some(stored) = table.get(KEY)? {
            return read(stored);
        }
        let secret = random()?;
        table.put(KEY, secret.as_bytes())?;
        secret
    };
    transaction.commit()?;
    Ok(secret.into())
}

fn read(stored: Vec<u8>) -> Result<SecretString, StoreError> {
    String::from_utf8(stored)
        .map(SecretString::from)
        .map_err(|_| StoreError::malformed("the secret is not text"))
}

/// Returns 256 random bits in hexadecimal digits.
fn random() -> Result<String, StoreError> {
    let mut bytes = [0_u8; 32];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| StoreError::malformed("the operating system returns no random numbers"))?;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::super::open;
    use super::*;

    #[test]
    fn a_secret_is_made_once_and_survives_closing_the_store() {
        let folder = tempfile::tempdir().unwrap();
        let secret_of = |directory| secret(&*open(directory).unwrap()).unwrap().expose_secret().to_owned();
        let first = secret_of(Some(folder.path()));
        assert_eq!(first.len(), 64);
        assert_eq!(secret_of(Some(folder.path())), first);
        assert_ne!(secret_of(None), first);
        assert_ne!(secret_of(None), secret_of(None));
    }
}
