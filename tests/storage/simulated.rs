//! The simulation's disk, compared with the file system and with `Storage`.

use std::collections::{BTreeMap, BTreeSet};

use gatepost_services::store::Storage;
use gatepost_sim::world::disk::SimDisk;
use gatepost_sim::world::power::Power;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::STATE;
use crate::file_system::FileSystem;
use crate::operation::Operation;
use crate::promise::{Left, Promises};

/// So many power cuts show what the disk can leave.
const CUTS: u64 = 400;

/// Cuts the power at the end of `operations`, and in the midst of the last.
///
/// # Errors
///
/// The disk has left what `Storage` does not allow, or never leaves what `real` can leave.
pub fn check(operations: &[Operation], real: &FileSystem) -> Result<(), String> {
    let mut promises = Promises::default();
    let mut left: BTreeMap<String, BTreeSet<Option<Vec<u8>>>> = BTreeMap::new();
    let names: BTreeSet<_> = operations.iter().flat_map(names_of).collect();
    for operation in operations {
        promises.begin(operation);
        // What would be refused is refused by the file system, too, and changes nothing.
        promises.succeed(operation);
    }
    for seed in 0..CUTS {
        let power = Power::on();
        let disk = SimDisk::new(power.clone(), StdRng::seed_from_u64(seed));
        operations.iter().for_each(|operation| _ = operation.carry_out(&disk));
        disk.cut_power();
        power.switch(true);
        let mut kept = Left::new();
        for name in &names {
            let content = disk.read(name).expect("a name, and power");
            kept.extend(content.clone().map(|content| (name.clone(), BTreeSet::from([content]))));
            left.entry(name.clone()).or_default().insert(content);
        }
        if !promises.allow(&kept) {
            return Err(format!("the simulated disk leaves {}", crate::show(&kept)));
        }
    }
    for paths in real.left_names() {
        for (name, simulated) in &left {
            let inode = paths.get(&format!("/{STATE}/{name}"));
            let contents = inode.map(|inode| real.contents(*inode).map(|content| Some(content.to_vec())));
            for content in contents.unwrap_or([None, None]) {
                if !simulated.contains(&content) {
                    return Err(format!(
                        "{name} can hold {content:?}, and on the simulated disk {simulated:?}"
                    ));
                }
            }
        }
    }
    Ok(())
}

fn names_of(operation: &Operation) -> Vec<String> {
    match operation {
        Operation::Rename(name, to) => vec![name.clone(), to.clone()],
        Operation::Replace(name, _) => vec![name.clone(), format!("{name}.new")],
        Operation::Write(name, _)
        | Operation::Append(name, _)
        | Operation::Rewrite(name)
        | Operation::Remove(name)
        | Operation::Sync(name) => vec![name.clone()],
        Operation::Restart => Vec::new(),
    }
}
