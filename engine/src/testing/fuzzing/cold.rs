//! The header of the cold file.

use super::put_checksum;
use crate::codec::checksum;

/// Gives the header that fills some bytes the checksum it has.
pub fn repair(header: &mut [u8]) {
    let sum = header.get(12..).map_or(0, checksum);
    put_checksum(header, 8, sum);
}
