"""Activities: unpack, call one provider, translate, return something small. Methods on objects with their means."""
