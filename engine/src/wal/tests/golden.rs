use super::*;

/// The bytes of a group are for ever.
#[test]
fn golden_bytes_of_a_group() {
    let disk = MemoryDisk::new(512, 5 * 4096);
    let ring = Extent { offset: 4096, length: 4 * 4096 };
    let start = WalPosition { lsn: 0x1_0000_0200, previous: 0xAABB_CCDD };
    let mut writer = Writer::new(Arc::clone(&disk) as _, FILE, ring, 0x0102_0304_0506_0708, start);
    let bodies: [&[u8]; 2] = [b"first", b""];
    let end = writer.write_group(0x1122, 1_700_000_000_000, bodies, false).unwrap();
    let mut expected = Vec::new();
    for field in [
        &[0x87, 0x0D, 0x8C, 0x0C][..],         // header checksum
        &[0x11, 0xF0, 0x81, 0xF8],             // body checksum
        b"TWAL",                               // magic
        &[1, 9],                               // version, alignment
        &[0, 0],                               // reserved
        &[117, 0, 0, 0],                       // length: 96 + (8 + 5) + 8
        &[2, 0, 0, 0],                         // frame count
        &[0, 2, 0, 0, 1, 0, 0, 0],             // lsn
        &[8, 7, 6, 5, 4, 3, 2, 1],             // salt
        &[0, 2, 0, 0, 1, 0, 0, 0],             // synced lsn
        &[0x22, 0x11, 0, 0, 0, 0, 0, 0],       // first commit
        &[0, 0x68, 0xe5, 0xcf, 0x8b, 1, 0, 0], // time
        &[0xDD, 0xCC, 0xBB, 0xAA],             // previous
        &[0; 28],                              // reserved
        &[5, 0, 0, 0, 1, 0, 0, 0],             // frame: length, kind, reserved
        b"first",
        &[0, 0, 0, 0, 1, 0, 0, 0],
    ] {
        expected.extend_from_slice(field);
    }
    expected.resize(512, 0);
    let place = 4096 + 512;
    assert_eq!(disk.peek(place..place + 512), expected);
    assert_eq!(end.lsn, start.lsn + 512);
    assert_eq!(end.previous.to_le_bytes(), expected[..4]);
}
