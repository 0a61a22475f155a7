"""Tell the two controls of an assay apart on high, low and super-resolved images (Table 2)."""
