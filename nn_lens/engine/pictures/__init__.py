"""Pictures in and out: reading any picture and any dataset, images and colour tables, samples, results that show themselves."""
