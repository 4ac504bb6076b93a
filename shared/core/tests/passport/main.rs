mod life;
mod parts;
mod scene;
mod sums;
