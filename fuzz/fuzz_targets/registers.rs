//! The transport: reads and writes of any size at any place of the configuration space
//! and the BAR. Whatever was written, a reset brings the device back.

#![no_main]

use std::sync::Arc;

use devices::testing::device::FakeDevice;
use devices::testing::machine::FakeMachine;
use devices::testing::pci::{COMMAND, Map, common};
use devices::testing::{BAR, memory};
use devices::virtio_pci::VirtioPci;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;

/// What a bus delivers at once.
const MOST: usize = 8;

/// Memory space and bus master.
const COMMAND_ON: [u8; 2] = 0b110u16.to_le_bytes();

fuzz_target!(|bytes: &[u8]| {
    let machine = Arc::new(FakeMachine::default());
    let device = Box::new(FakeDevice::new(|_, _| Ok(())));
    let shared = Arc::clone(&machine) as Arc<_>;
    let mut device =
        VirtioPci::new("fuzz0", device, memory(), shared, BAR).expect("making the device");
    let map = Map::find(&mut device);
    device.write_config(COMMAND, &COMMAND_ON);
    let _ = play(&mut Unstructured::new(bytes), &mut device, &map);

    device.write_config(COMMAND, &COMMAND_ON);
    let (status, mut read) = (map.common + common::STATUS.0, [0xff]);
    device.write_memory(status, &[0]);
    device.read_memory(status, &mut read);
    assert_eq!(read, [0], "status after a reset");
    let failures = machine.failures();
    assert!(failures.is_empty(), "{failures:?}");
});

fn play(input: &mut Unstructured<'_>, device: &mut VirtioPci, map: &Map) -> Result<()> {
    while !input.is_empty() {
        let mut bytes = [0; MOST];
        let length = input.int_in_range(0..=MOST)?;
        let bytes = &mut bytes[..length];
        let what = input.int_in_range(0..=9)?;
        if what % 2 == 1 {
            input.fill_buffer(bytes)?;
        }
        let at = match input.int_in_range(0..=3)? {
            0 => input.arbitrary::<u16>()?.into(),
            1 => map.msix_table + input.int_in_range(0..=64)?,
            _ => map.common + input.int_in_range(0..=64)?,
        };
        let config = usize::from(input.arbitrary::<u8>()?);
        match what {
            0 => device.read_config(config, bytes),
            1 => device.write_config(config, bytes),
            2 => device.read_memory(input.arbitrary()?, bytes),
            3 => device.write_memory(input.arbitrary()?, bytes),
            _ if what % 2 == 1 => device.write_memory(at, bytes),
            _ => device.read_memory(at, bytes),
        }
    }
    Ok(())
}
