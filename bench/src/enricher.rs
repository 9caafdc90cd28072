//! placeholder
use crate::report::Report;
pub fn measure(_: &mut Report) -> anyhow::Result<()> {
    Ok(())
}
