"""Quality: the learning targets, checked on files of embeddings by the product's own trainer."""
