mod bounds;
mod check;
mod compaction;
mod crash;
mod damage;
pub(in crate::mail) mod disk;
mod driver;
mod full;
mod office;
