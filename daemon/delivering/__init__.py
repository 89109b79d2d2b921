"""What happens around a delivery: manifests, the journal, undo, originals, reports, notices."""
