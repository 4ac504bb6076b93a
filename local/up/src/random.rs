//! Passwords nobody has to know.

use std::fs::File;
use std::io::Read;

use crate::Error;

/// 128 random bits as hexadecimal digits.
///
/// # Errors
/// When the system gives no random bytes.
pub fn hex() -> Result<String, Error> {
    let mut bytes = [0_u8; 16];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(Error::io("read /dev/urandom"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
