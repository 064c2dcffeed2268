mod bounds;
mod check;
mod compaction;
mod crash;
mod damage;
mod disk;
mod driver;
mod office;
