//! What the fuzz targets share with the regression test over their seeds.

pub mod decoders;
