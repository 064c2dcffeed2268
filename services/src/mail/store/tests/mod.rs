mod bounds;
mod crash;
mod damage;
mod disk;
mod driver;
mod office;
