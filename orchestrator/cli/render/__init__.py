"""What people and programs are shown: values in, Rich renderables or one JSON document out."""
