"""What the field calls things: diagnoses, labels, image ids, columns, decision rule, model.json; no Beam."""
